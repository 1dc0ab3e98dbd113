import { maySee } from '../access';
import type { Principal } from '../access';
import type { FlagChecks } from '../checks';
import type { EventStreams } from './event-streams';

/** Prometheus' text format 0.0.4. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

export interface FlagMetrics {
  readonly checks: FlagChecks;
  readonly streams: EventStreams;
  /** Lines of others. */
  readonly beside: readonly string[];
}

/** What the service knows of itself, with the flags that the asker may see. Users are never a label. */
export function flagMetricsText(principal: Principal, { checks, streams, beside }: FlagMetrics): string {
  const { ruleset } = checks;
  const answers = [...checks.answers()]
    .filter(({ flag }) => maySee(principal, flag))
    .map(
      ({ flag, variant, count }) => `sluice_flag_evaluations_total{flag="${flag.name}",variant="${variant}"} ${count}`,
    );
  const age = ruleset.ageMs;
  return [
    '# HELP sluice_flag_evaluations_total Answers given by this process, by variant.',
    '# TYPE sluice_flag_evaluations_total counter',
    ...answers,
    '# HELP sluice_flag_fallback_total Answers that were the default because no flags were loaded.',
    '# TYPE sluice_flag_fallback_total counter',
    `sluice_flag_fallback_total ${ruleset.fallbacks}`,
    ...(age === null
      ? []
      : [
          '# HELP sluice_flag_ruleset_age_seconds Since the store last confirmed what is answered from.',
          '# TYPE sluice_flag_ruleset_age_seconds gauge',
          `sluice_flag_ruleset_age_seconds ${age / 1000}`,
        ]),
    '# HELP sluice_flag_ruleset_flags Flags in memory.',
    '# TYPE sluice_flag_ruleset_flags gauge',
    `sluice_flag_ruleset_flags ${ruleset.size}`,
    '# HELP sluice_flag_event_streams Open event streams.',
    '# TYPE sluice_flag_event_streams gauge',
    `sluice_flag_event_streams ${streams.size}`,
    ...beside,
    '',
  ].join('\n');
}
