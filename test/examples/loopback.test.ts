import { argumentToLoopback, toLoopback } from './loopback';

const ports = new Map([
  ['shop-1:3000', 41_001],
  ['shop-2:3000', 41_002],
  ['worker:9464', 41_003],
]);

describe('addresses of services on loopback', () => {
  it.each([
    ['http://shop-1:3000', 'http://127.0.0.1:41001'],
    ["targets: ['shop-1:3000', 'shop-2:3000']", "targets: ['127.0.0.1:41001', '127.0.0.1:41002']"],
    [
      'instances: [http://shop-1:3000, http://shop-2:3000]',
      'instances: [http://127.0.0.1:41001, http://127.0.0.1:41002]',
    ],
    ['other:3000 shop-1:30001 my-shop-1:3000 shop-1', 'other:3000 shop-1:30001 my-shop-1:3000 shop-1'],
    ['0.0.0.0:3000', '0.0.0.0:3000'],
  ])('maps %s', (text, expected) => {
    expect(toLoopback(text, ports)).toBe(expected);
  });

  it.each([
    ['--web.listen-address=0.0.0.0:9464', '--web.listen-address=127.0.0.1:41003'],
    ["fetch('http://127.0.0.1:9464/readyz')", "fetch('http://127.0.0.1:41003/readyz')"],
    ['9464', '41003'],
    ['0.0.0.0', '127.0.0.1'],
    ['3000', '3000'],
    ['http://shop-2:3000', 'http://127.0.0.1:41002'],
  ])('maps the argument %s of the worker', (argument, expected) => {
    expect(argumentToLoopback(argument, ports, 'worker')).toBe(expected);
  });
});
