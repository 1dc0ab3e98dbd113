import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

/** What a load found. */
export interface LoadResult {
  readonly perSecond: number;
  readonly latenciesMs: readonly number[];
  /** Answers that were none of status 200, or wrong. */
  readonly failed: number;
  /** The first of them, shortened; null where there is none. */
  readonly firstFailure: string | null;
}

export interface Load {
  readonly port: number;
  readonly path: string;
  readonly bodyOf: (i: number) => string;
  /** Whether an answer to that body is right; left out: any is. */
  readonly isRight?: (i: number, answer: string) => boolean;
  /** Beside the usual ones. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly connections: number;
  readonly seconds: number;
  /** Ends it before its time. */
  readonly signal?: AbortSignal;
  /** Requests a second over all connections; left out: as many as come. */
  readonly rate?: number;
}

/** So many different requests are made beforehand, and sent in turn: what is measured is not their making. */
const PREPARED = 4096;
const SHOWN = 400;

/**
 * Requests with keep-alive over plain sockets: an HTTP client costs as much as the server, and on two cores would be
 * what is measured. With a rate, latency counts from when a request should have been sent, so that a server that stalls
 * is not asked less for it.
 */
export async function loadHttp(load: Load): Promise<LoadResult> {
  const requests = Array.from({ length: PREPARED }, (_, i) => requestOf(load, i));
  const sockets = await Promise.all(Array.from({ length: load.connections }, () => open(load.port)));
  const latenciesMs: number[] = [];
  let failed = 0;
  let firstFailure: string | null = null;
  let sent = 0;
  const start = performance.now();
  const end = start + load.seconds * 1000;
  const gapMs = load.rate === undefined ? 0 : (load.connections / load.rate) * 1000;

  const ask = (socket: Socket, index: number): Promise<void> =>
    new Promise((resolve, reject) => {
      let dueMs = start + (gapMs * index) / load.connections;
      let begunMs = 0;
      let asked = 0;
      let text = '';
      const next = (): void => {
        if (performance.now() >= end || load.signal?.aborted === true) {
          socket.removeAllListeners('close').destroy();
          resolve();
          return;
        }
        const waitMs = gapMs > 0 ? dueMs - performance.now() : 0;
        if (waitMs > 0) setTimeout(send, waitMs);
        else send();
      };
      const send = (): void => {
        // A timer may come a little early, too.
        begunMs = gapMs > 0 ? Math.min(dueMs, performance.now()) : performance.now();
        dueMs += gapMs;
        asked = sent % PREPARED;
        sent += 1;
        socket.write(requests[asked] as Buffer);
      };
      socket.on('data', (chunk: Buffer) => {
        text = text === '' ? chunk.toString('latin1') : text + chunk.toString('latin1');
        if (!isWhole(text)) return;
        latenciesMs.push(performance.now() - begunMs);
        if (!text.startsWith('HTTP/1.1 200') || load.isRight?.(asked, text) === false) {
          failed += 1;
          firstFailure ??= text.slice(0, SHOWN);
        }
        text = '';
        next();
      });
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('the server closed the connection')));
      next();
    });
  await Promise.all(sockets.map(ask));
  return { perSecond: latenciesMs.length / ((performance.now() - start) / 1000), latenciesMs, failed, firstFailure };
}

function requestOf({ path, bodyOf, headers = {} }: Load, i: number): Buffer {
  const body = bodyOf(i);
  const head = [
    `POST ${path} HTTP/1.1`,
    'Host: 127.0.0.1',
    'Content-Type: application/json',
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}

async function open(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return socket;
}

/** Answers of the services are small and have a Content-Length. */
function isWhole(text: string): boolean {
  const head = text.indexOf('\r\n\r\n');
  if (head === -1) return false;
  const length = /content-length: (\d+)/i.exec(text)?.[1];
  return length !== undefined && text.length >= head + 4 + Number(length);
}
