import { createHash } from 'node:crypto';
import { connect as connectHttp2, constants } from 'node:http2';
import type { ClientHttp2Session, IncomingHttpHeaders } from 'node:http2';
import { isIP } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { abandonedBy, ApiHttpFailure, describeConnectionError, parseJson } from './api-http';
import type { Access, ApiAnswer, ApiServer } from './api-http';
import { CLUSTER_DEFAULTS, WATCH_DEFAULTS } from './defaults';

/** A stream of events that has begun. */
export interface OpenWatch {
  /** False when it has ended, or when its connection gave no sign of life for longer than it may: nothing is known then. */
  alive(): boolean;
  /** Nothing is told after it. */
  close(): void;
}

export interface WatchRequest {
  /** Absolute path and query, encoded. */
  readonly path: string;
  /** One event, parsed; undefined for what is no JSON. */
  readonly onEvent: (event: unknown) => void;
  /** It ended, by whoever's doing but our own; told once. */
  readonly onEnd: () => void;
}

export type WatchOpening =
  | { readonly kind: 'open'; readonly watch: OpenWatch }
  /** The API server's answer, which is no stream. */
  | { readonly kind: 'refused'; readonly answer: ApiAnswer }
  /** There is no HTTP/2 to this server: plain http, a proxy in between, or a server that does not speak it. */
  | { readonly kind: 'unsupported' };

export interface ApiWatchOptions {
  /** Largest event, in characters. */
  readonly maxBytes?: number;
  readonly openMs?: number;
  readonly pingEveryMs?: number;
  readonly pongWithinMs?: number;
}

type Bounds = Required<ApiWatchOptions>;

/**
 * Watches of one API server over HTTP/2: one connection carries many, and a PING tells whether it lives, which nothing
 * tells of a stream on which nothing happens.
 */
export class ApiWatch {
  readonly #server: ApiServer;
  readonly #bounds: Bounds;
  #sessions: WatchSession[] = [];
  #closed = false;

  constructor(server: ApiServer, options: ApiWatchOptions = {}) {
    this.#server = server;
    this.#bounds = {
      maxBytes: options.maxBytes ?? CLUSTER_DEFAULTS.maxBytes,
      openMs: options.openMs ?? WATCH_DEFAULTS.openMs,
      pingEveryMs: options.pingEveryMs ?? WATCH_DEFAULTS.pingEveryMs,
      pongWithinMs: options.pongWithinMs ?? WATCH_DEFAULTS.pongWithinMs,
    };
  }

  /** @throws ApiHttpFailure when there was no answer. */
  async open(request: WatchRequest): Promise<WatchOpening> {
    const { openMs } = this.#bounds;
    const deadline = AbortSignal.timeout(openMs);
    try {
      const access = await abandonedBy(deadline, this.#server.access());
      const url = new URL(this.#server.url);
      if (access.proxyAgent !== undefined || url.protocol !== 'https:') return { kind: 'unsupported' };
      // A server may lie below a path, behind a gateway.
      const path = `${url.pathname.replace(/\/+$/, '')}${request.path}`;
      const session = this.#sessionWithRoom(url, access);
      return await session.open({ ...request, path }, access.headers, deadline);
    } catch (error) {
      if (this.#closed) throw new ApiHttpFailure('cancelled', 'was cancelled');
      if (error instanceof ApiHttpFailure) throw error;
      if (deadline.aborted) throw new ApiHttpFailure('timeout', `did not answer within ${openMs} ms`);
      throw new ApiHttpFailure('unreachable', describeConnectionError(error), { cause: error });
    }
  }

  /** Closes all connections, and with them all watches. */
  close(): void {
    this.#closed = true;
    for (const session of this.#sessions) session.destroy();
    this.#sessions = [];
  }

  /** One with the same credentials for TLS; a certificate that was renewed gets a connection of its own. */
  #sessionWithRoom(url: URL, { tls }: Access): WatchSession {
    if (this.#closed) throw new ApiHttpFailure('cancelled', 'was cancelled');
    this.#sessions = this.#sessions.filter((session) => !session.ended);
    const key = keyOf(url, tls);
    const known = this.#sessions.find((session) => session.key === key && session.hasRoom());
    if (known !== undefined) return known;
    const made = new WatchSession(key, connectSession(url, tls, this.#bounds.openMs), this.#bounds);
    this.#sessions.push(made);
    return made;
  }
}

/** One connection with the watches on it. */
class WatchSession {
  readonly key: string;
  /** No more watches are opened on it; those it has may go on. */
  ended = false;
  readonly #bounds: Bounds;
  readonly #connected: Promise<ClientHttp2Session | null>;
  readonly #timer: NodeJS.Timeout;
  #session: ClientHttp2Session | null = null;
  #streams = 0;
  /** By the clock on the wall: the other one stands still with a machine that sleeps, and so would what is known. */
  #lastSign = Date.now();

  constructor(key: string, connecting: Promise<ClientHttp2Session | null>, bounds: Bounds) {
    this.key = key;
    this.#bounds = bounds;
    this.#connected = connecting.then(
      (session) => this.#use(session),
      (error: unknown) => {
        this.ended = true;
        throw error;
      },
    );
    // Each watch that waits for it hears of a failure; one may have given up before.
    this.#connected.catch(() => undefined);
    this.#timer = setInterval(() => this.#look(), bounds.pingEveryMs).unref();
  }

  hasRoom(): boolean {
    if (this.ended || this.#session?.closed === true || this.#session?.destroyed === true) return false;
    const allowed = this.#session?.remoteSettings.maxConcurrentStreams ?? WATCH_DEFAULTS.streamsUntold;
    return this.#streams < Math.min(allowed, WATCH_DEFAULTS.streamsPerConnection);
  }

  async open(
    request: WatchRequest,
    headers: Readonly<Record<string, string>>,
    deadline: AbortSignal,
  ): Promise<WatchOpening> {
    this.#streams += 1;
    let left = false;
    const leave = (): void => {
      if (!left) this.#streams -= 1;
      left = true;
    };
    try {
      const session = await abandonedBy(deadline, this.#connected);
      if (session === null) {
        leave();
        return { kind: 'unsupported' };
      }
      return await this.#stream(session, request, headers, deadline, leave);
    } catch (error) {
      leave();
      throw error;
    }
  }

  destroy(): void {
    this.ended = true;
    clearInterval(this.#timer);
    this.#session?.destroy();
  }

  #use(session: ClientHttp2Session | null): ClientHttp2Session | null {
    if (session === null) {
      // Asked again with the next watch: the next server behind the same name may speak it.
      this.destroy();
      return null;
    }
    this.#session = session;
    this.#lastSign = Date.now();
    session.on('close', () => this.destroy());
    if (this.ended) session.destroy();
    return session;
  }

  #alive(): boolean {
    const { pingEveryMs, pongWithinMs } = this.#bounds;
    // Twice the time of the answer: a worker that is busy hears it late.
    return Math.abs(Date.now() - this.#lastSign) <= pingEveryMs + 2 * pongWithinMs;
  }

  #look(): void {
    const session = this.#session;
    if (session === null || session.destroyed) return;
    if (this.#streams === 0) {
      this.destroy();
      return;
    }
    let answered = false;
    session.ping((error) => {
      answered = true;
      if (error === null) this.#lastSign = Date.now();
    });
    setTimeout(() => {
      // One more turn for what has arrived while this process was busy.
      setImmediate(() => {
        if (!answered) this.destroy();
      });
    }, this.#bounds.pongWithinMs).unref();
  }

  #stream(
    session: ClientHttp2Session,
    { path, onEvent, onEnd }: WatchRequest,
    headers: Readonly<Record<string, string>>,
    deadline: AbortSignal,
    leave: () => void,
  ): Promise<WatchOpening> {
    return new Promise((resolve, reject) => {
      const stream = session.request(
        { ':method': 'GET', ':path': path, accept: 'application/json', 'user-agent': 'sluice', ...lowered(headers) },
        { endStream: true },
      );
      let state: 'opening' | 'open' | 'refused' | 'ended' = 'opening';
      let answered: IncomingHttpHeaders = {};
      let text = '';
      const end = (why: Error, { told = true } = {}): void => {
        if (state === 'ended') return;
        const before = state;
        state = 'ended';
        deadline.removeEventListener('abort', late);
        leave();
        stream.close(constants.NGHTTP2_CANCEL);
        if (before !== 'open') reject(why);
        else if (told) onEnd();
      };
      const late = (): void => end(deadline.reason as Error);
      deadline.addEventListener('abort', late);
      stream.setEncoding('utf8');
      stream.on('response', (received) => {
        answered = received;
        this.#lastSign = Date.now();
        if (received[':status'] !== 200) {
          state = 'refused';
          return;
        }
        state = 'open';
        deadline.removeEventListener('abort', late);
        const watch = {
          alive: () => state === 'open' && this.#alive(),
          close: () => end(new Error('It was closed.'), { told: false }),
        };
        resolve({ kind: 'open', watch });
      });
      stream.on('data', (chunk: string) => {
        this.#lastSign = Date.now();
        text += chunk;
        for (let at = text.indexOf('\n'); state === 'open' && at >= 0; at = text.indexOf('\n')) {
          const line = text.slice(0, at);
          text = text.slice(at + 1);
          if (line !== '') onEvent(parseJson(line));
        }
        if (text.length > this.#bounds.maxBytes) {
          end(new ApiHttpFailure('tooLarge', `answered more than ${this.#bounds.maxBytes} bytes`));
        }
      });
      stream.on('end', () => {
        if (state === 'refused') {
          const status = Number(answered[':status']);
          resolve({ kind: 'refused', answer: { status, headers: plain(answered), text, json: parseJson(text) } });
        }
        end(new Error('The stream ended.'));
      });
      stream.on('error', (error) => end(error));
      stream.on('close', () => end(Object.assign(new Error('The stream was cut.'), { code: 'ECONNRESET' })));
    });
  }
}

/** Null where the server speaks no HTTP/2. */
function connectSession(url: URL, tls: Access['tls'], openMs: number): Promise<ClientHttp2Session | null> {
  return new Promise((resolve, reject) => {
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const socket = connectTls({
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...tls,
      host,
      port: url.port === '' ? 443 : Number(url.port),
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    const patience = setTimeout(() => socket.destroy(new Error('The connection took too long.')), openMs);
    const settle = (): void => clearTimeout(patience);
    socket.setKeepAlive(true, WATCH_DEFAULTS.keepAliveMs);
    socket.once('error', (error) => {
      settle();
      reject(error);
    });
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') {
        settle();
        socket.destroy();
        resolve(null);
        return;
      }
      const session = connectHttp2(url.origin, { createConnection: () => socket });
      session.on('error', (error) => reject(error));
      session.once('close', () => {
        settle();
        reject(Object.assign(new Error('The connection was cut.'), { code: 'ECONNRESET' }));
      });
      // How many streams it takes at once stands in them.
      session.once('remoteSettings', () => {
        settle();
        resolve(session);
      });
    });
  });
}

function keyOf(url: URL, { ca, cert, key, servername, rejectUnauthorized }: Access['tls']): string {
  const hash = createHash('sha256');
  for (const part of [ca, cert, key].flat()) {
    const bytes = typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part ?? null);
    hash.update(`${bytes.length} `).update(bytes);
  }
  return `${url.origin} ${servername ?? ''} ${String(rejectUnauthorized)} ${hash.digest('hex')}`;
}

function lowered(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
