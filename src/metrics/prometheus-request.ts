import { promDuration } from '../spec/query-template';
import {
  createHttpClient,
  describeHttpFailure,
  displayUrl,
  HttpFailure,
  type HttpAnswer,
  type HttpClient,
} from './http';

/** Where a Prometheus is, and how long it is waited for. */
export interface PrometheusAddress {
  /** Base URL, with a path prefix where the server has one: `http://prometheus:9090`. */
  readonly url: string;
  /** For one query, milliseconds; Prometheus is told to give up after the same time. */
  readonly timeoutMs: number;
}

export interface PrometheusOptions extends PrometheusAddress {
  /** Bearer token. */
  readonly token?: string;
  /** Largest answer accepted, bytes. Default 8 MiB: the buckets of a thousand targets at two moments. */
  readonly maxBytes?: number;
}

const MAX_BYTES = 8 * 1024 * 1024;

export function createPrometheusClient({ timeoutMs, token, maxBytes = MAX_BYTES }: PrometheusOptions): HttpClient {
  return createHttpClient({
    timeoutMs,
    maxBytes,
    ...(token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } }),
  });
}

export interface PrometheusQuestion<T> {
  readonly path: '/api/v1/query' | '/api/v1/query_range';
  readonly form: Readonly<Record<string, string>>;
  readonly read: (answer: HttpAnswer) => T;
  readonly signal?: AbortSignal;
  /** By how much the clock of the moments asked about is ahead of ours, milliseconds; null where it is not to be checked. */
  readonly ahead?: number | null;
}

/** How far a clock that says a moment now is ahead of ours. */
export function aheadOfOurs(present: number | undefined): number | null {
  return present === undefined ? null : present - Date.now();
}

/** A moment or a length of time as the API takes it. */
export function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** `Prometheus at http://…`, to begin a sentence with. */
export function nameOf({ url }: PrometheusAddress): string {
  return `Prometheus at ${displayUrl(url)}`;
}

/**
 * Asks and reads.
 *
 * @throws HttpFailure without an answer, and with one from a server whose clock is wrong.
 */
export async function askPrometheus<T>(
  client: HttpClient,
  address: PrometheusAddress,
  { path, form, read, signal, ahead = null }: PrometheusQuestion<T>,
): Promise<T> {
  const answer = await client.request({
    method: 'POST',
    url: `${address.url.replace(/\/+$/, '')}${path}`,
    body: new URLSearchParams({ ...form, timeout: promDuration(address.timeoutMs) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const apart = clocksApart(answer, ahead);
  if (apart !== null) throw new HttpFailure('body', apart);
  return read(answer);
}

/** The same; or says in a clause why there is nothing to read. */
export async function askOrSay<T>(
  client: HttpClient,
  address: PrometheusAddress,
  question: PrometheusQuestion<T>,
): Promise<T | string> {
  try {
    return await askPrometheus(client, address, question);
  } catch (error) {
    return `${nameOf(address)} ${describeHttpFailure(error)}`;
  }
}

/** What came before a weight change cannot be told from what came after it by a clock that is that wrong. */
const CLOCKS_APART_MS = 10_000;

/** A clause about the server's clock; null when it goes as ours and as that of the moments does, or is not known. */
function clocksApart({ headers }: HttpAnswer, ahead: number | null): string | null {
  const now = Date.now();
  const date = Date.parse(headers['date'] ?? '');
  if (Number.isNaN(date)) return null;
  if (isApart(date - now)) return `has a clock that is ${describe(date - now)} this one; set both clocks right`;
  if (ahead === null) return null;
  // A weight changes, and is looked at, by Temporal's clock.
  const apart = date - now - ahead;
  if (!isApart(apart)) return null;
  // Nobody can tell a clock that is behind from a look that waited for a worker; a look that is ahead did not.
  const unless = apart > 0 ? ', unless this look waited that long for a worker' : '';
  return `has a clock that is ${describe(apart)} Temporal's${unless}; set both clocks right`;
}

function isApart(ms: number): boolean {
  return Math.abs(ms) > CLOCKS_APART_MS;
}

function describe(ms: number): string {
  return `${Math.round(Math.abs(ms) / 1000)} s ${ms > 0 ? 'ahead of' : 'behind'}`;
}
