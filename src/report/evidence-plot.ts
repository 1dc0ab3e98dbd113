import type { EvidenceReport } from '../analysis/gather-evidence';
import type { Plot } from './plot';

/** The evidence of one metric over time, against the limit at which it fails. */
export function evidencePlot(
  name: string,
  seen: readonly { readonly at: number; readonly evidence: EvidenceReport }[],
  range: Pick<Plot, 'from' | 'to' | 'marks'>,
): Plot {
  return {
    ...range,
    title: `Evidence against the canary, of ${name}`,
    format: round,
    lines: [
      {
        name: 'ln E',
        colour: 'canary',
        shape: 'line',
        points: seen.map(({ at, evidence }) => [at, evidence.logEvidence] as const),
      },
      {
        name: 'fails at',
        colour: 'limit',
        shape: 'dashed',
        points: seen.map(({ at, evidence }) => [at, evidence.limit] as const),
      },
    ],
  };
}

export function round(value: number): string {
  return String(Number(value.toFixed(2)));
}
