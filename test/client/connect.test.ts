import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect } from '../../src/client/connect';
import { freePort } from '../../src/devserver/free-port';
import { ReleaseError } from '../../src/errors';

async function failureOf(connecting: Promise<unknown>): Promise<ReleaseError> {
  const result = await connecting.then(
    () => null,
    (error: unknown) => error,
  );
  if (result instanceof ReleaseError) return result;
  throw new Error(`no failure but ${String(result)}`);
}

describe('connecting to Temporal', () => {
  it('fails at once where nobody listens, in one sentence', async () => {
    const address = `127.0.0.1:${await freePort()}`;

    // An hour's patience: only an answer that comes at once ends before the test's own deadline.
    const failure = await failureOf(connect({ env: {}, address, timeoutMs: 3_600_000 }));

    expect(failure.code).toBe('unreachable');
    expect(failure.message).toBe(`Temporal does not answer at ${address}.`);
    expect(failure.hint).toBe(
      'Start one with `sluice dev`, or say where it is: --address, TEMPORAL_ADDRESS or a profile.',
    );
  });

  it('fails at once where the name does not resolve', async () => {
    const failure = await failureOf(connect({ env: {}, address: 'no-such-host.invalid:7233', timeoutMs: 3_600_000 }));

    expect(failure.code).toBe('unreachable');
  });

  it('fails after its timeout where something accepts and says nothing', async () => {
    const sockets: Socket[] = [];
    const server = await listen((socket) => sockets.push(socket));
    try {
      const { port } = server.address() as AddressInfo;

      const failure = await failureOf(connect({ env: {}, address: `127.0.0.1:${port}`, timeoutMs: 300 }));

      expect(failure.code).toBe('unreachable');
      expect(sockets.length).toBeGreaterThan(0);
    } finally {
      for (const socket of sockets) socket.destroy();
      server.close();
    }
  });

  it('fails where something else than Temporal answers', async () => {
    const server = await listen((socket) => {
      socket.on('error', () => undefined);
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    });
    try {
      const { port } = server.address() as AddressInfo;

      const failure = await failureOf(connect({ env: {}, address: `127.0.0.1:${port}`, timeoutMs: 1_000 }));

      expect(failure.code).toBe('unreachable');
    } finally {
      server.close();
    }
  });

  it('names an address that is none', async () => {
    const failure = await failureOf(connect({ env: {}, address: 'http://127.0.0.1:7233/x y', timeoutMs: 1_000 }));

    expect(['usage', 'unreachable']).toContain(failure.code);
    expect(failure.message).toContain('http://127.0.0.1:7233/x y');
  });
});

function listen(onSocket: (socket: Socket) => void): Promise<Server> {
  const server = createServer(onSocket);
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server)));
}
