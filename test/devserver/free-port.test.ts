import { createServer } from 'node:net';
import { once } from 'node:events';
import { freePort, isPortFree } from '../../src/devserver/free-port';

describe('freePort', () => {
  it('gives ports that can be listened on, each only once', async () => {
    const ports = await Promise.all(Array.from({ length: 20 }, () => freePort()));

    expect(new Set(ports).size).toBe(20);
    for (const port of ports) expect(await isPortFree(port)).toBe(true);
  });
});

describe('isPortFree', () => {
  it('is false while somebody listens', async () => {
    const server = createServer().listen(await freePort(), '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');

    const taken = await isPortFree(address.port);
    server.close();
    await once(server, 'close');

    expect(taken).toBe(false);
    expect(await isPortFree(address.port)).toBe(true);
  });
});
