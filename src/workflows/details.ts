import type { ReleaseStatus, StepState } from './api';

const MARKS: Record<StepState, string> = { pending: '•', running: '◌', passed: '✔', failed: '✖', skipped: '–' };

/** The status as Markdown for the Temporal UI's current details; well below its limit of 20 kB. */
export function renderDetails(status: ReleaseStatus): string {
  const lines = [
    `**${status.service}** ${status.version.from ?? '…'} → ${status.version.to} · **${status.phase}** · weight ${status.weight} %` +
      (status.observedShare === null ? '' : ` (observed ${(status.observedShare * 100).toFixed(1)} %)`),
    '',
    ...(status.simulated ? ['**Simulated metrics.**', ''] : []),
    status.message,
    '',
    ...status.steps.map(
      (step) => `- ${MARKS[step.state]} ${step.name}${step.sentence === null ? '' : `: ${step.sentence}`}`,
    ),
  ];
  const last = status.measurements.at(-1);
  if (last !== undefined) {
    lines.push('', `Last measurement: **${last.verdict}**. ${last.sentence}`);
  }
  lines.push('', '| when | what | who |', '|---|---|---|');
  for (const event of status.events.slice(-25)) {
    lines.push(
      `| ${new Date(event.at).toISOString()} | ${event.message.replace(/\|/g, '\\|').slice(0, 300)} | ${event.actor.name} |`,
    );
  }
  return lines.join('\n');
}
