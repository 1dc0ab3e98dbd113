import type { FlagClient } from './flag-client';

/** A flag as the weight of `sluice/router`: its option `weightFrom`. */
export interface FlagWeight {
  /** Shown in the router's log. */
  readonly name: string;
  /** Percent for the canary, now; null: not known, the weight stays. */
  weight(): number | null;
}

/**
 * The percentage of a flag as a cohort router's weight. A flag that is switched off, or does not count in this
 * environment, is a weight of 0; one without a percentage is 100. Lists of users have no part in it.
 */
export function flagWeight(client: FlagClient, flag: string, environment?: string): FlagWeight {
  return { name: flag, weight: () => client.percentage(flag, environment) };
}
