import { z } from 'zod';
import { formatDuration } from '../spec/units';
import { displayUrl, HttpFailure } from './http';
import type { HttpClient } from './http';
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

/**
 * A clause about a window of which the server no longer has the beginning, so that its answer would be about less than
 * was asked; null when it has all of it, or does not say how long it keeps samples (as the likes of Thanos and Mimir,
 * which keep them elsewhere).
 */
export async function beyondRetention(
  client: HttpClient,
  { url }: PrometheusAddress,
  { windowMs, signal }: { readonly windowMs: number; readonly signal?: AbortSignal | undefined },
): Promise<string | null> {
  if (windowMs <= ALWAYS_KEPT_MS) return null;
  const keptMs = await retentionOf(client, url, signal);
  if (keptMs === null || windowMs <= Math.max(keptMs, ALWAYS_KEPT_MS)) return null;
  return `the window of ${formatDuration(windowMs)} is longer than Prometheus at ${displayUrl(url)} keeps samples (${formatDuration(keptMs)}); shorten the soak or let it keep them longer`;
}

async function retentionOf(client: HttpClient, url: string, signal: AbortSignal | undefined): Promise<number | null> {
  try {
    const { status, json } = await client.request({
      method: 'GET',
      url: `${url.replace(/\/+$/, '')}/api/v1/status/runtimeinfo`,
      ...(signal === undefined ? {} : { signal }),
    });
    const read = RuntimeInfo.safeParse(json);
    return status === 200 && read.success ? readRetention(read.data.data.storageRetention) : null;
  } catch (error) {
    // A server that cannot be asked says so at the query itself, which follows.
    if (error instanceof HttpFailure) return null;
    throw error;
  }
}

/** `15d`, `1h30m`, `15d or 512MiB`; null where only a size, or nothing that is a time, bounds it. */
export function readRetention(text: string): number | null {
  const [time = ''] = text.split(' or ');
  const parts = [...time.matchAll(/(\d+)(ms|[smhdwy])/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== time) return null;
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * (UNITS_MS[unit ?? ''] ?? 0), 0);
  return ms > 0 ? ms : null;
}
