import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** What a load found. */
export interface LoadResult {
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
  /** Answers that were none of status 200. */
  readonly failed: number;
}

export interface Load {
  readonly port: number;
  readonly path: string;
  readonly bodyOf: (i: number) => string;
  /** Beside the usual ones. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second over all connections; left out: as many as come. */
  readonly rate?: number;
}

/**
 * Requests with keep-alive over plain sockets: an HTTP client costs as much as the server, and on two cores would be
 * what is measured. With a rate, latency counts from when a request should have been sent, so that a server that stalls
 * is not asked less for it.
 */
export async function loadHttp(load: Load): Promise<LoadResult> {
  const latenciesMs: number[] = [];
  let failed = 0;
  let sent = 0;
  const start = performance.now();
  const end = start + load.seconds * 1000;
  const more = Object.entries(load.headers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  const gapMs = load.rate === undefined ? 0 : (load.connections / load.rate) * 1000;
  const worker = async (index: number): Promise<void> => {
    const socket = await open(load.port);
    let dueMs = start + (gapMs * index) / load.connections;
    while (performance.now() < end) {
      if (gapMs > 0) {
        const wait = dueMs - performance.now();
        if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
      }
      const begun = gapMs > 0 ? dueMs : performance.now();
      const body = load.bodyOf((sent += 1));
      const answer = await exchange(
        socket,
        `POST ${load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n${more.join('')}Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
      );
      if (!answer.startsWith('HTTP/1.1 200')) failed += 1;
      latenciesMs.push(performance.now() - begun);
      dueMs += gapMs;
    }
    socket.destroy();
  };
  await Promise.all(Array.from({ length: load.connections }, (_, index) => worker(index)));
  return { perSecond: latenciesMs.length / ((performance.now() - start) / 1000), latenciesMs, failed };
}

function open(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.setNoDelay(true);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** Answers of the service are small and have a Content-Length. */
function exchange(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const done = (): void => {
      socket.off('data', onData);
      socket.off('close', onClose);
    };
    const onClose = (): void => {
      done();
      reject(new Error('the server closed the connection'));
    };
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const head = text.indexOf('\r\n\r\n');
      const length = /content-length: (\d+)/i.exec(text)?.[1];
      if (head === -1 || length === undefined || text.length < head + 4 + Number(length)) return;
      done();
      resolve(text);
    };
    socket.on('data', onData);
    socket.once('close', onClose);
    socket.write(request);
  });
}
