import { decide } from '../src/router';
import type { DecisionSnapshot, Subject } from '../src/router';
import { below, told } from './lib/result';
import type { BenchResult } from './lib/result';
import { percentile } from './lib/statistics';

const WARM_UP = 50_000;
const CALLS = 1_000_000;

/** The pure decision, call by call, with the clock's own cost left in. */
export function routerDecision(): BenchResult {
  const snapshot: DecisionSnapshot = {
    enabled: true,
    active: true,
    stableVersion: 'v1',
    canaryVersion: 'v2',
    weight: 25,
    salt: 'shop-20260101-000000-abcd',
  };
  const subjects = Array.from({ length: 4096 }, (_, i): Subject => ({ kind: 'user', key: `user-${i}` }));
  const subjectAt = (i: number): Subject => subjects[i % subjects.length] as Subject;
  for (let i = 0; i < WARM_UP; i += 1) decide(snapshot, subjectAt(i));

  const samples = new Float64Array(CALLS);
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < CALLS; i += 1) {
    const start = process.hrtime.bigint();
    decide(snapshot, subjectAt(i));
    samples[i] = Number(process.hrtime.bigint() - start) / 1000;
  }
  globalThis.gc?.();
  const grown = (process.memoryUsage().heapUsed - before) / 1024;
  const durations = Array.from(samples);
  return {
    bench: 'router-decision',
    how: `${CALLS} calls of decide() with 4096 users at weight 25, each timed alone; the heap is compared after a forced collection.`,
    figures: [
      below('decision p99', percentile(durations, 99), 20, 'µs'),
      told('decision p50', percentile(durations, 50), 'µs'),
      below('heap kept after a million decisions', grown, 1024, 'KiB'),
    ],
  };
}
