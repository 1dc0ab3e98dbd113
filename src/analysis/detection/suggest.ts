import { createPlayer, isCompared, LONGEST_SOAK_MS, PROBABILITY } from './detect';
import type { DetectionInput, DetectionStep } from './detect';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** As a person would write them. */
const SOAKS: readonly number[] = [
  ...[30 * SECOND],
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE),
  ...[1, 2, 4, 8, 12].map((hours) => hours * HOUR),
  LONGEST_SOAK_MS,
];

/** Soaks change the number of planned batches, and that the soaks; a few rounds settle it. */
const ROUNDS = 5;

export interface Wanted {
  /** Of the canary's chance over stable's. */
  readonly rise: number;
  /** No soak may be shorter: it would have no room for the measurements a step needs. */
  readonly leastMs: number;
  /** Batches that a plan of these steps has room for; null where a late onset is not bet on. */
  readonly plannedBatches: (steps: readonly DetectionStep[]) => number | null;
}

export interface SuggestedStep extends DetectionStep {
  /** `enough`: with this soak every metric finds the rise; `none`: none within a day does, and the soak is as it was. */
  readonly found: 'enough' | 'none' | 'not-compared';
  /** The metric that needs the longest. */
  readonly slowest: string | null;
}

/** For each step the shortest soak with which every metric finds the rise in 95 % of the runs. */
export function suggestSoaks(input: DetectionInput, wanted: Wanted): readonly SuggestedStep[] {
  let steps: readonly SuggestedStep[] = input.steps.map((step) => ({ ...step, found: 'not-compared', slowest: null }));
  for (let round = 0; round < ROUNDS; round += 1) {
    const planned = wanted.plannedBatches(steps);
    const onset = planned === null ? null : { plannedBatches: Math.max(1, planned) };
    const next = chooseSoaks({ ...input, policy: { ...input.policy, onset } }, wanted);
    const settled = next.every(({ soakMs }, index) => soakMs === steps[index]?.soakMs);
    steps = next;
    if (settled) break;
  }
  return steps;
}

function chooseSoaks(input: DetectionInput, { rise, leastMs }: Wanted): SuggestedStep[] {
  const players = input.metrics.map((metric, index) => ({ metric, player: createPlayer(input, metric, index) }));
  return input.steps.map((step, at): SuggestedStep => {
    if (!isCompared(step)) return { ...step, found: 'not-compared', slowest: null };
    const longest = { ...step, soakMs: LONGEST_SOAK_MS };
    let needed = 0;
    let slowest: string | null = null;
    for (const { metric, player } of players) {
      const own = player.arrive(longest, at).quantile(rise, PROBABILITY);
      if (own <= needed) continue;
      needed = own;
      slowest = metric.name;
    }
    const soakMs = SOAKS.find((soak) => soak >= needed && soak >= leastMs);
    const chosen = { ...step, soakMs: soakMs ?? step.soakMs };
    for (const { player } of players) player.pass(chosen, at);
    return { ...chosen, found: soakMs === undefined ? 'none' : 'enough', slowest };
  });
}
