import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';
import { lookup } from 'node:dns';
import axios, { type AxiosInstance, type AxiosResponse } from 'axios';
import { messageOf } from '../errors';

/**
 * The one HTTP client for what a release talks to (metric backends, admin endpoints of instances): bounded in time and
 * size, never following a redirect, and never going to an address that only cloud metadata services live at.
 */
export interface HttpClient {
  /**
   * One request and its whole answer. Any status but a redirect is an answer, also 4xx and 5xx.
   *
   * @throws HttpFailure when there was no answer, or none that is accepted (redirect, too large).
   */
  request(request: HttpRequest): Promise<HttpAnswer>;
  /** Closes idle connections; requests under way are not disturbed. */
  close(): void;
}

export interface HttpClientOptions {
  /** For one request from connecting to the last byte, milliseconds. */
  readonly timeoutMs: number;
  /** Largest answer accepted, in bytes after decompression. Default 1 MiB. */
  readonly maxBytes?: number;
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  /** http or https, absolute. */
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** A form is sent url-encoded, anything else as JSON. */
  readonly body?: unknown;
  readonly signal?: AbortSignal;
  /**
   * `answer` hands a redirect to the caller as any other answer, for protocols that need them: whether and where to go
   * on, and with which headers, is then the caller's to decide. Refused by default.
   */
  readonly redirects?: 'refuse' | 'answer';
}

export interface HttpAnswer {
  readonly status: number;
  /** Media type without parameters, lower case; empty when the answer has none. */
  readonly contentType: string;
  /** Names in lower case; repeated headers joined with commas. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body as it came, decompressed; for those who have to hash it. */
  readonly bytes: Uint8Array;
  readonly text: string;
  /** The parsed body when it is JSON; undefined otherwise. */
  readonly json: unknown;
}

export type HttpFailureKind =
  | 'address' // not http(s), or an address that is never asked
  | 'unreachable' // no connection, or it broke
  | 'timeout'
  | 'cancelled'
  | 'redirect'
  | 'too-large'
  | 'status' // an error status, for callers that expect none
  | 'body'; // HTML, truncated JSON, another document than expected

/** Why there is no usable answer; its message is one clause such as `timed out after 10 s`. */
export class HttpFailure extends Error {
  readonly kind: HttpFailureKind;
  /** Of the answer, where there was one. */
  readonly status: number | undefined;

  constructor(kind: HttpFailureKind, message: string, options: { status?: number; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'HttpFailure';
    this.kind = kind;
    this.status = options.status;
  }
}

const DEFAULT_MAX_BYTES = 1024 * 1024;

/** Longest piece of another server's text that is repeated to people. */
const MAX_ECHO = 200;

export function createHttpClient(options: HttpClientOptions): HttpClient {
  const maxBytes = options.maxBytes ?? DEFAULT_MAX_BYTES;
  const agentOptions = { keepAlive: true, lookup: guardedLookup };
  const httpAgent = new HttpAgent(agentOptions);
  const httpsAgent = new HttpsAgent(agentOptions);
  const client = axios.create({
    httpAgent,
    httpsAgent,
    proxy: false,
    maxRedirects: 0,
    maxContentLength: maxBytes,
    maxBodyLength: maxBytes,
    responseType: 'arraybuffer',
    transformResponse: (data: unknown) => data,
    validateStatus: () => true,
    headers: { Accept: 'application/json', ...options.headers },
  });
  return {
    request: (request) => send(client, request, { timeoutMs: options.timeoutMs, maxBytes }),
    close: () => {
      // `destroy` would break requests under way, too: only what is idle goes, and what becomes idle is not kept.
      for (const agent of [httpAgent, httpsAgent]) {
        agent.maxFreeSockets = 0;
        for (const socket of Object.values(agent.freeSockets).flatMap((sockets) => sockets ?? [])) socket.destroy();
      }
    },
  };
}

/** One clear clause about why a request came to nothing: `refused the connection`, `answered 500`. */
export function describeHttpFailure(error: unknown): string {
  return error instanceof HttpFailure ? error.message : `failed: ${shorten(messageOf(error))}`;
}

/**
 * The JSON of a successful answer.
 *
 * @throws HttpFailure for an error status (with the server's own short text where it is text or JSON), and for a body
 * that is not JSON.
 */
export function expectJson(answer: HttpAnswer): unknown {
  if (answer.status < 200 || answer.status > 299) {
    throw new HttpFailure('status', `answered ${answer.status}${quoteError(answer)}`, { status: answer.status });
  }
  if (answer.json !== undefined) return answer.json;
  throw new HttpFailure('body', `answered ${describeBody(answer)} instead of JSON`, { status: answer.status });
}

/** A URL fit to be shown: without user, password, query and fragment. */
export function displayUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  return parsed === null ? 'an invalid address' : `${parsed.origin}${parsed.pathname}`.replace(/\/$/, '');
}

/** Another server's text, fit to be repeated: one line, at most 200 characters. */
export function shorten(text: string): string {
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\s]+/g, ' ').trim();
  return line.length <= MAX_ECHO ? line : `${line.slice(0, MAX_ECHO - 1)}…`;
}

async function send(
  client: AxiosInstance,
  request: HttpRequest,
  bounds: { timeoutMs: number; maxBytes: number },
): Promise<HttpAnswer> {
  refuseAddress(request.url);
  // axios' own timeout watches for idleness; this one ends an answer that trickles for ever, too.
  const deadline = AbortSignal.timeout(bounds.timeoutMs);
  const signal = request.signal === undefined ? deadline : AbortSignal.any([deadline, request.signal]);
  const attempt = (): Promise<AxiosResponse<unknown>> =>
    client.request<unknown>({
      method: request.method,
      url: request.url,
      data: request.body,
      signal,
      ...(request.headers === undefined ? {} : { headers: { ...request.headers } }),
    });
  try {
    // A kept connection that the server closed just now says nothing about the server: asked once more on a new one.
    return answerOf(
      await attempt().catch((error: unknown) => (lostKeptConnection(error) ? attempt() : raise(error))),
      request.redirects ?? 'refuse',
    );
  } catch (error) {
    throw failureOf(error, { ...bounds, timedOut: deadline.aborted, cancelled: request.signal?.aborted ?? false });
  }
}

function raise(error: unknown): never {
  throw error;
}

function lostKeptConnection(error: unknown): boolean {
  if (!axios.isAxiosError(error) || error.response !== undefined) return false;
  const request: unknown = error.request;
  const reused = typeof request === 'object' && request !== null && isReused(request);
  return reused && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

/** axios hands out Node's ClientRequest, wrapped once where it may follow redirects. */
function isReused(request: object): boolean {
  if ('reusedSocket' in request) return request.reusedSocket === true;
  const inner: unknown = '_currentRequest' in request ? request._currentRequest : null;
  return typeof inner === 'object' && inner !== null && 'reusedSocket' in inner && inner.reusedSocket === true;
}

function answerOf(response: AxiosResponse<unknown>, redirects: 'refuse' | 'answer'): HttpAnswer {
  const { status } = response;
  if (redirects === 'refuse' && isRedirect(status)) {
    throw new HttpFailure('redirect', `answered with a redirect (${status}), which is not followed`, { status });
  }
  const header: unknown = response.headers['content-type'];
  const contentType = (typeof header === 'string' ? (header.split(';')[0] ?? '') : '').trim().toLowerCase();
  const bytes = response.data instanceof Uint8Array ? response.data : new Uint8Array();
  const text = new TextDecoder().decode(bytes);
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) headers[name.toLowerCase()] = String(value);
  return { status, contentType, headers, bytes, text, json: parseJson(text) };
}

export function isRedirect(status: number): boolean {
  return status >= 300 && status < 400;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // what is not JSON has no JSON; callers that need it say so
  }
}

function failureOf(
  error: unknown,
  context: { timeoutMs: number; maxBytes: number; timedOut: boolean; cancelled: boolean },
): HttpFailure {
  if (error instanceof HttpFailure) return error;
  if (context.cancelled) return new HttpFailure('cancelled', 'was cancelled', { cause: error });
  if (context.timedOut) {
    return new HttpFailure('timeout', `timed out after ${formatDuration(context.timeoutMs)}`, { cause: error });
  }
  const message = messageOf(error);
  if (/maxContentLength/.test(message)) {
    return new HttpFailure('too-large', `answered more than ${formatBytes(context.maxBytes)}`, { cause: error });
  }
  return new HttpFailure('unreachable', describeConnectionError(codeOf(error), message), { cause: error });
}

function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string') return error.code;
  return 'cause' in error ? codeOf(error.cause) : '';
}

/** Why there was no connection, by Node's code for it; null for a code that says nothing to people. */
export function describeConnectionCode(code: string): string | null {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused the connection';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'has a name that does not resolve';
    case 'ECONNRESET':
    case 'EPIPE':
    case 'ECONNABORTED':
    case 'ERR_BAD_RESPONSE':
      return 'broke the connection before the answer was complete';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return 'cannot be reached over the network';
    case 'ERR_LINK_LOCAL':
      return 'has a link-local address, which is never asked';
    default:
      return null;
  }
}

function describeConnectionError(code: string, message: string): string {
  const known = describeConnectionCode(code);
  if (known !== null) return known;
  if (/certificate|CERT_|TLS|SSL/i.test(`${code} ${message}`)) return `has no acceptable TLS certificate (${code})`;
  if (code.startsWith('HPE_')) return 'answered something that is not HTTP';
  return `failed: ${shorten(message)}`;
}

/** The text of an error answer, for people: a JSON document's message, or short plain text. Never HTML. */
function quoteError(answer: HttpAnswer): string {
  const { json } = answer;
  if (typeof json === 'object' && json !== null) {
    for (const field of ['error', 'detail', 'message', 'title']) {
      const value: unknown = (json as Readonly<Record<string, unknown>>)[field];
      if (typeof value === 'string' && value !== '') return `: ${shorten(value)}`;
    }
    return '';
  }
  return answer.contentType === 'text/plain' && answer.text.trim() !== '' ? `: ${shorten(answer.text)}` : '';
}

function describeBody({ contentType, text }: HttpAnswer): string {
  if (text.trim() === '') return 'nothing';
  if (contentType === 'text/html' || /^\s*<(!doctype|html)/i.test(text)) return 'HTML';
  if (/^\s*[[{]/.test(text)) return 'incomplete JSON';
  return contentType === '' ? 'something' : contentType;
}

/** Cloud metadata services live on link-local addresses; AWS also on one unique local IPv6 address. */
const NEVER_ASKED = new BlockList();
NEVER_ASKED.addSubnet('169.254.0.0', 16, 'ipv4');
NEVER_ASKED.addSubnet('fe80::', 10, 'ipv6');
NEVER_ASKED.addAddress('fd00:ec2::254', 'ipv6');

function isNeverAsked(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && NEVER_ASKED.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

function refuseAddress(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:')) {
    throw new HttpFailure('address', 'has an address that is neither http nor https');
  }
  if (isNeverAsked(parsed.hostname.replace(/^\[|\]$/g, ''))) {
    throw new HttpFailure('address', 'has a link-local address, which is never asked');
  }
}

/** Names are checked where they are resolved, so that none can point elsewhere between the check and the connection. */
const guardedLookup: LookupFunction = (hostname, options, callback) => {
  lookup(hostname, options, (error, address, family) => {
    const found = typeof address === 'string' ? [address] : (address ?? []).map((each) => each.address);
    if (error === null && found.some(isNeverAsked)) {
      callback(Object.assign(new Error('link-local address'), { code: 'ERR_LINK_LOCAL' }), '', 0);
      return;
    }
    callback(error, address, family);
  });
};

function formatDuration(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000} s` : `${ms} ms`;
}

function formatBytes(bytes: number): string {
  return bytes % (1024 * 1024) === 0 ? `${bytes / (1024 * 1024)} MiB` : `${bytes} bytes`;
}
