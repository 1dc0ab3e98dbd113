import fc from 'fast-check';
import { parseChallenges } from '../../../src/targets/kubernetes/registry-challenge';

describe('what a registry asks for', () => {
  it.each([
    ['', []],
    ['Basic realm="a, b"', [{ scheme: 'basic', parameters: { realm: 'a, b' } }]],
    [
      'Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull"',
      [
        {
          scheme: 'bearer',
          parameters: { realm: 'https://auth.test/token', service: 'registry.test', scope: 'repository:a/b:pull' },
        },
      ],
    ],
    [
      'Negotiate, Bearer Realm = "https://a" , service=plain, BASIC realm="say \\"x\\""',
      [
        { scheme: 'negotiate', parameters: {} },
        { scheme: 'bearer', parameters: { realm: 'https://a', service: 'plain' } },
        { scheme: 'basic', parameters: { realm: 'say "x"' } },
      ],
    ],
    ['Bearer realm="https://a', [{ scheme: 'bearer', parameters: {} }]],
    ['"', []],
  ])('%s', (header, challenges) => {
    expect(parseChallenges(header)).toEqual(challenges);
  });

  it('comes to an end with any header (property)', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200, unit: fc.constantFrom(...'ab =,"\\\t;/') }), (header) => {
        expect(parseChallenges(header).length).toBeLessThanOrEqual(header.length);
      }),
    );
  });
});
