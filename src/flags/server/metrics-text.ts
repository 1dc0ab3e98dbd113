import type { FlagChecks } from '../checks';
import type { EventStreams } from './event-streams';

/** Prometheus' text format 0.0.4. */
export const METRICS_CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** What the service knows of itself. Users are never a label. */
export function flagMetricsText(checks: FlagChecks, streams: EventStreams, beside: readonly string[]): string {
  const { ruleset } = checks;
  const answers = [...checks.answers()].map(
    ({ flag, variant, count }) => `sluice_flag_evaluations_total{flag="${flag}",variant="${variant}"} ${count}`,
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
