import { Agent as HttpAgent, request as httpRequest } from 'node:http';
import type { Agent, IncomingMessage, RequestOptions } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { RequestOptions as TlsRequestOptions } from 'node:https';
import { describeConnectionCode } from '../../metrics/http';
import { CLUSTER_DEFAULTS } from './defaults';

/** Where the API server is, and how to be let in. */
export interface ApiServer {
  /** http or https, without user and query. */
  readonly url: string;
  /** The context's namespace; `default` when it names none. */
  readonly namespace: string;
  /** Asked before each request: tokens and client certificates change while a worker runs. */
  access(): Promise<Access>;
  /**
   * Told that the server did not accept these: true where others may be had by asking again. Left out where there are
   * never any others.
   */
  renew?(refused: Access): boolean;
}

export interface Access {
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Pick<TlsRequestOptions, 'ca' | 'cert' | 'key' | 'servername' | 'rejectUnauthorized'>;
  /** In place of the pooled connections, where the kubeconfig names a proxy. */
  readonly proxyAgent: Agent | undefined;
}

/** One request to the API server. */
export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Absolute path and query, encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: { readonly type: string; readonly text: string };
  readonly timeoutMs?: number;
  /**
   * False for what must not happen twice: it goes over a new connection, because one that was kept may be closed by the
   * server at that very moment, and then nobody knows whether the request arrived.
   */
  readonly repeatable: boolean;
  readonly signal: AbortSignal;
}

export interface ApiAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** The parsed body when it is JSON; undefined otherwise. */
  readonly json: unknown;
}

export type ApiHttpFailureKind = 'unreachable' | 'timeout' | 'cancelled' | 'tooLarge' | 'credentials';

/** Why there is no answer; its message is one clause: `refused the connection`. */
export class ApiHttpFailure extends Error {
  readonly kind: ApiHttpFailureKind;

  constructor(kind: ApiHttpFailureKind, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'ApiHttpFailure';
    this.kind = kind;
  }
}

export interface ApiHttpOptions {
  /** Of one request, from asking for credentials to the last byte. */
  readonly timeoutMs?: number;
  /** Largest answer, in bytes. */
  readonly maxBytes?: number;
}

/**
 * The pooled connections to one API server. @kubernetes/client-node opens a TLS connection for each call and waits for
 * ever; this keeps connections, bounds time and size, and follows no redirect.
 */
export class ApiHttp {
  readonly #server: ApiServer;
  readonly #timeoutMs: number;
  readonly #maxBytes: number;
  readonly #http = new HttpAgent({ keepAlive: true, maxSockets: CLUSTER_DEFAULTS.maxSockets });
  readonly #https = new HttpsAgent({ keepAlive: true, maxSockets: CLUSTER_DEFAULTS.maxSockets });

  constructor(server: ApiServer, options: ApiHttpOptions = {}) {
    this.#server = server;
    this.#timeoutMs = options.timeoutMs ?? CLUSTER_DEFAULTS.timeoutMs;
    this.#maxBytes = options.maxBytes ?? CLUSTER_DEFAULTS.maxBytes;
  }

  /**
   * Any status is an answer.
   *
   * @throws ApiHttpFailure when there was none.
   */
  async send(request: ApiRequest): Promise<ApiAnswer> {
    const timeoutMs = request.timeoutMs ?? this.#timeoutMs;
    const deadline = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([deadline, request.signal]);
    try {
      return await this.#exchange(request, signal);
    } catch (error) {
      if (request.signal.aborted) throw new ApiHttpFailure('cancelled', 'was cancelled');
      if (deadline.aborted) {
        this.#dropIdle();
        throw new ApiHttpFailure('timeout', `did not answer within ${timeoutMs} ms`);
      }
      if (error instanceof ApiHttpFailure) throw error;
      throw new ApiHttpFailure('unreachable', describeConnectionError(error), { cause: error });
    }
  }

  /** Closes all connections, also those in use. */
  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }

  /**
   * Where one connection has gone silent, the others may lead to the same nowhere: a request that took the next of them
   * would hang as long once the server is back, and so would one for each that was kept.
   */
  #dropIdle(): void {
    for (const agent of [this.#http, this.#https]) {
      for (const idle of Object.values(agent.freeSockets)) for (const socket of idle ?? []) socket.destroy();
    }
  }

  async #exchange(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    signal.throwIfAborted();
    const access = await abandonedBy(signal, this.#server.access());
    const answer = await this.#sendAs(access, request, signal);
    if (answer.status !== 401 || this.#server.renew?.(access) !== true) return answer;
    const renewed = await abandonedBy(signal, this.#server.access());
    return isSameAccess(access, renewed) ? answer : this.#sendAs(renewed, request, signal);
  }

  async #sendAs(access: Access, request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer> {
    const url = new URL(this.#server.url);
    const secure = url.protocol === 'https:';
    const pooled = secure ? this.#https : this.#http;
    const options: RequestOptions = {
      ...access.tls,
      method: request.method,
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
      // A server may lie below a path, behind a gateway.
      path: `${url.pathname.replace(/\/+$/, '')}${request.path}`,
      agent: access.proxyAgent ?? (request.repeatable ? pooled : false),
      headers: {
        Accept: 'application/json',
        'User-Agent': 'sluice',
        ...request.headers,
        ...access.headers,
        ...(request.body === undefined
          ? {}
          : { 'Content-Type': request.body.type, 'Content-Length': String(Buffer.byteLength(request.body.text)) }),
      },
      signal,
    };
    const answer = await this.#open(secure, options, request.body?.text);
    const text = await readBody(answer, this.#maxBytes);
    return { status: answer.statusCode ?? 0, headers: headersOf(answer), text, json: parseJson(text) };
  }

  #open(secure: boolean, options: RequestOptions, body: string | undefined): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const outgoing = secure ? httpsRequest(options, resolve) : httpRequest(options, resolve);
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  }
}

function isSameAccess(one: Access, other: Access): boolean {
  const shown = ({ headers, tls }: Access): string => JSON.stringify([headers, tls]);
  return shown(one) === shown(other);
}

/** The whole body, also checked for being whole: a connection that ends early is no answer. */
async function readBody(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) {
      answer.destroy();
      throw new ApiHttpFailure('tooLarge', `answered more than ${maxBytes} bytes`);
    }
    chunks.push(chunk);
  }
  if (!answer.complete) throw Object.assign(new Error('The answer is not complete.'), { code: 'ECONNRESET' });
  return Buffer.concat(chunks).toString('utf8');
}

/** Credentials may come from a program that hangs; nobody waits for it longer than for the request. */
export function abandonedBy<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abandon = (): void => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    if (signal.aborted) abandon();
    signal.addEventListener('abort', abandon, { once: true });
    void work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abandon));
  });
}

function headersOf(answer: IncomingMessage): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(', ') : value;
  }
  return headers;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what is not JSON has no JSON; callers that need it say so
  }
}

export function describeConnectionError(error: unknown): string {
  const code = codeOf(error);
  const known = describeConnectionCode(code);
  if (known !== null) return known;
  if (/CERT|TLS|SSL|ALTNAME/.test(code)) return `has no acceptable TLS certificate (${code})`;
  if (code.startsWith('HPE_')) return 'answered something that is not HTTP';
  // Never the error's own message: Node quotes what it was given.
  return `cannot be asked (${code === '' ? 'for an unknown reason' : code})`;
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : '';
}
