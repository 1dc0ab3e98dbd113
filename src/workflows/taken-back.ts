import type { Run } from './run';

/**
 * True where a write came too late because of a later one in the release's own name: so writes `sluice rollback --direct`,
 * past the release. Told from the sentence, which is all that an answer has.
 *
 * MAINTENANCE: the sentences are those of `traffic/fence.ts`, and of `track-checks.ts` and `workloads.ts` in
 * `targets/kubernetes`.
 */
export function isTakenBackDirectly({ input }: Pick<Run, 'input'>, refusal: string): boolean {
  const holders = [`is held by release ${input.release} (`, `holds the traffic: release ${input.release},`];
  return [...holders, 'from this release by a later write in its name'].some((words) => refusal.includes(words));
}

/** What a step fails with, and a roll back's reason, where the release finds that on its way forward. */
export const TAKEN_BACK_DIRECTLY =
  'The service was taken back on the cluster itself, past this release, by `sluice rollback --direct`; where that was cut short, the same command again finishes it.';
