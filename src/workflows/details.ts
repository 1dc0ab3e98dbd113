import { instant } from './instant';
import type { ReleaseStatus, StepState } from './api';

const MARKS: Record<StepState, string> = { pending: '•', running: '◌', passed: '✔', failed: '✖', skipped: '–' };

/** Temporal's limit is 20 kB; a character may be three bytes. */
const MOST_CHARACTERS = 6_500;
const LONGEST = 300;

/** What others wrote, on one line and without a say in the table it stands in. */
function plain(text: string): string {
  const line = text.replace(/\s+/g, ' ').replace(/\|/g, '\\|');
  return line.length > LONGEST ? `${line.slice(0, LONGEST)}…` : line;
}

/** The status as Markdown for the Temporal UI's current details: now first, then the story's newest part. */
export function renderDetails(status: ReleaseStatus): string {
  const lines = [
    `**${status.service}** ${status.version.from ?? '…'} → ${status.version.to} · **${status.phase}** · weight ${status.weight} %` +
      (status.observedShare === null ? '' : ` (observed ${(status.observedShare * 100).toFixed(1)} %)`),
    '',
    ...(status.simulated ? ['**Simulated metrics.**', ''] : []),
    plain(status.message),
    '',
    ...status.steps.map(
      (step) => `- ${MARKS[step.state]} ${step.name}${step.sentence === null ? '' : `: ${plain(step.sentence)}`}`,
    ),
  ];
  const last = status.measurements.at(-1);
  if (last !== undefined) {
    lines.push('', `Last measurement: **${last.verdict}**. ${plain(last.sentence)}`);
    if (last.routing?.verdict === 'fail') lines.push('', `**Routing:** ${plain(last.routing.sentence)}`);
  }
  lines.push('', '| when | what | who |', '|---|---|---|');
  const rows: string[] = [];
  let room = MOST_CHARACTERS - lines.join('\n').length;
  for (const event of status.events.slice(-25).reverse()) {
    const row = `| ${instant(event.at)} | ${plain(event.message)} | ${plain(event.actor.name)} |`;
    room -= row.length + 1;
    if (room < 0) break;
    rows.unshift(row);
  }
  return [...lines, ...rows].join('\n').slice(0, MOST_CHARACTERS);
}
