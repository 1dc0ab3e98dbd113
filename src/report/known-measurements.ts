import type { Measurement, ReleaseStatus } from '../workflows/api';

/** All that is still known: the newest, and of older ones those that a step or an event kept. In order of time. */
export function measurementsOf(status: ReleaseStatus): readonly Measurement[] {
  const kept = [
    ...status.events.flatMap(({ evidence }) => evidence ?? []),
    ...status.steps.flatMap(({ evidence }) => evidence ?? []),
    // Last, and so instead of the same one before: of an old one the story may have kept its sentence alone.
    ...status.measurements,
  ];
  const byTime = new Map(kept.map((measurement) => [`${measurement.at} ${measurement.step}`, measurement]));
  return [...byTime.values()].sort((a, b) => a.at - b.at);
}
