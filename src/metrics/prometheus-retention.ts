import { z } from 'zod';
import { formatDuration } from '../spec/units';
import { displayUrl, HttpFailure } from './http';
import type { HttpClient } from './http';
import { createReachCheck } from './prometheus-reach';
import type { PrometheusAddress } from './prometheus-request';

/**
 * A Prometheus writes samples out in blocks of two hours, and removes whole blocks only: for that long everything is
 * there, whatever it is told to keep. https://prometheus.io/docs/prometheus/latest/storage/
 */
const ALWAYS_KEPT_MS = 2 * 3_600_000;

const RuntimeInfo = z.object({ data: z.object({ storageRetention: z.string() }) });

const UNITS_MS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
  y: 31_536_000_000,
};

/** A server's settings change with a restart of it: asked again after a while, and not at every look. */
const REMEMBERED_MS = 10 * 60_000;

type AskRetention = (signal: AbortSignal | undefined) => Promise<Told>;

/** Says of a window, or of a query that looks further back by itself, why it is too long; null when it is not. */
export type CheckRetention = (asked: {
  /** When the window ends, epoch milliseconds. */
  readonly at: number;
  readonly windowMs: number;
  /** How far a query looks back, milliseconds, as `lookBackOf` has it. */
  readonly lookBackMs?: number;
  /** How long before the present it ends. */
  readonly lagMs?: number;
  readonly signal?: AbortSignal | undefined;
}) => Promise<string | null>;

/**
 * Makes the check: a clause about a window of which the server no longer has the beginning, so that its answer would be
 * about less than was asked; null when it has all of it, or when nobody can say. One that does not tell how long it
 * keeps samples (as the likes of Thanos and Mimir, which keep them elsewhere, and where only a size bounds them) is asked
 * whether it has any of then.
 */
export function createRetentionCheck(client: HttpClient, address: PrometheusAddress): CheckRetention {
  const ask = remembered(client, address.url);
  const reaches = createReachCheck(client, address);
  return async ({ at, windowMs, lookBackMs = 0, lagMs = 0, signal }) => {
    const longestMs = Math.max(windowMs, lookBackMs);
    const oldestMs = longestMs + lagMs;
    if (oldestMs <= ALWAYS_KEPT_MS) return null;
    const told = await ask(signal);
    if (told.kind !== 'answer') return null;
    const { keptMs } = told;
    if (keptMs !== null && oldestMs <= Math.max(keptMs, ALWAYS_KEPT_MS)) return null;
    if (keptMs === null && (await reaches({ at, backMs: longestMs, signal })) !== 'no') return null;
    const [what, shorten] = longestMs > windowMs ? ['range', 'range in the query'] : ['window', 'soak'];
    const late = lagMs > 0 ? `, with the lag of ${formatDuration(lagMs)},` : '';
    const kept = keptMs === null ? 'it has "up" of now, and none of then' : formatDuration(keptMs);
    return `the ${what} of ${formatDuration(longestMs)}${late} is longer than Prometheus at ${displayUrl(address.url)} keeps samples (${kept}); shorten the ${shorten} or let it keep them longer`;
  };
}

const QUOTED_OR_COMMENT = /"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|#[^\n]*/gsu;

/** A range or a subquery with the offset behind it, or an offset alone. */
const LOOKS_BACK =
  /\[\s*([\d.]\w*)\s*(?::[^\]]*)?\](?:\s*@\s*[\w.]+(?:\(\s*\))?)?(?:\s*\boffset\s+([\d.]\w*))?|\boffset\s+([\d.]\w*)/giu;

/** How far PromQL as it is sent looks back, milliseconds: by the longest of its ranges with its offset. */
export function lookBackOf(query: string): number {
  const code = query.replace(QUOTED_OR_COMMENT, '""');
  return [...code.matchAll(LOOKS_BACK)].reduce((longest, [, range, offset, alone]) => {
    const ms = [range, offset, alone].reduce(
      (sum, text) => sum + (text === undefined ? 0 : (durationIn(text) ?? 0)),
      0,
    );
    return Math.max(longest, ms);
  }, 0);
}

/** What a server said is remembered, and questions of one moment share an answer; a failure is not remembered. */
function remembered(client: HttpClient, url: string): AskRetention {
  let known: { readonly told: Told; readonly until: number } | null = null;
  let underWay: Promise<Told> | null = null;
  const askAnew = async (signal: AbortSignal | undefined): Promise<Told> => {
    try {
      const told = await retentionOf(client, url, signal);
      if (told.kind === 'answer') known = { told, until: performance.now() + REMEMBERED_MS };
      return told;
    } finally {
      underWay = null;
    }
  };
  return async (signal) => {
    for (;;) {
      if (known !== null && performance.now() < known.until) return known.told;
      const isOwn = underWay === null;
      underWay ??= askAnew(signal);
      const told = await underWay;
      // Who asked has given up; that says nothing about the server.
      if (isOwn || told.kind !== 'given-up') return told;
    }
  };
}

/** How long a server keeps samples, milliseconds; null when it does not say. */
type Told = { readonly kind: 'answer'; readonly keptMs: number | null } | { readonly kind: 'failure' | 'given-up' };

async function retentionOf(client: HttpClient, url: string, signal: AbortSignal | undefined): Promise<Told> {
  try {
    const { status, json } = await client.request({
      method: 'GET',
      url: `${url.replace(/\/+$/, '')}/api/v1/status/runtimeinfo`,
      ...(signal === undefined ? {} : { signal }),
    });
    if (status >= 500) return { kind: 'failure' };
    const read = RuntimeInfo.safeParse(json);
    const keptMs = status === 200 && read.success ? readRetention(read.data.data.storageRetention) : null;
    return { kind: 'answer', keptMs };
  } catch (error) {
    // A server that cannot be asked says so at the query itself, which follows.
    if (error instanceof HttpFailure) return { kind: error.kind === 'cancelled' ? 'given-up' : 'failure' };
    throw error;
  }
}

/** `15d`, `1h30m`, `15d or 512MiB`; null where only a size, or nothing that is a time, bounds it. */
export function readRetention(text: string): number | null {
  const [time = ''] = text.split(' or ');
  const ms = durationIn(time);
  return ms !== null && ms > 0 ? ms : null;
}

/** `1h30m`, or a plain number of seconds where PromQL takes one; null for anything else. */
function durationIn(text: string): number | null {
  if (/^\d+(?:\.\d+)?$/u.test(text)) return Number(text) * 1_000;
  const parts = [...text.matchAll(/(\d+)(ms|[smhdwy])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) return null;
  return parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? ''] ?? 0), 0);
}
