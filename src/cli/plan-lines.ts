import type { PlanDescription } from '../spec/describe-plan';
import type { Plan } from '../spec/plan-types';
import { safeText, wrap } from './display-width';
import { renderTable } from './output';
import { refName } from './service-ref';
import { paint } from './style';
import type { Look } from './style';

/** A plan as `sluice plan` prints it: steps, total time, metrics with their queries, and how they are judged. */
export function planLines(plan: Plan, description: PlanDescription, look: Look): string[] {
  const heading = (text: string): string => paint(text, 'strong', look);
  const lines = [
    heading(`${safeText(refName(plan))} ${safeText(plan.version)} (${plan.target.kind})`),
    `plan ${plan.hash.slice(0, 12)}, on failure: ${plan.onFailure}, when another release runs: ${plan.onConflict}`,
    '',
    ...renderTable(
      ['STEP', '', 'TIME', 'WHAT'],
      description.rows.map(({ name, time, what }, index) => [String(index + 1), safeText(name), time, safeText(what)]),
      look,
    ),
    description.totals.text,
  ];
  if (description.metrics.length > 0) lines.push('', heading(`Metrics, from ${sourceName(plan)}`));
  for (const metric of description.metrics) {
    lines.push(`  ${heading(safeText(metric.name))}  ${safeText(metric.limits)}`);
    // Whole, however long: they are there to be copied.
    for (const { track, part, query } of metric.queries) {
      lines.push(paint(`    ${track} ${part}: ${safeText(query)}`, 'dim', look));
    }
  }
  if (description.notes.length > 0) lines.push('');
  for (const note of description.notes) lines.push(...wrap(safeText(note), look.width));
  return lines;
}

function sourceName({ analysis, target }: Plan): string {
  switch (analysis.source.kind) {
    case 'prometheus':
      return analysis.source.url;
    case 'http':
      return 'the addresses of each';
    case 'router':
      return target.kind === 'router'
        ? `the router's own counters at ${target.instances.join(', ')}`
        : "the router's own counters";
    case 'flag':
      return 'the outcomes posted to the flag service';
    case 'simulated':
      return 'a script (simulated)';
    default:
      return analysis.source satisfies never;
  }
}
