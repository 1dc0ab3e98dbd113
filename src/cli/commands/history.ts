import type { MetricVerdict } from '../../analysis/verdict';
import type { ReleaseEvent, ReleaseStatus } from '../../workflows/api';
import { safeText, wrap } from '../display-width';
import { eventLook, metricLine, verdictLook } from '../live-view';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import { resolveServiceRef } from '../service-ref';
import { glyphs, paint } from '../style';
import type { Look } from '../style';
import { formatDate } from '../units';
import { warnWithoutWorker } from '../workers';

/** `sluice history`: the events of a release as a story. */
export function addHistoryCommand(registry: Registry): void {
  registry
    .add('history <service>', 'The story of a release: what, when, why and who', [
      'sluice history checkout',
      'sluice history checkout -o jsonl   # one event a line',
    ])
    .option('--release <id>', 'a certain release instead of the newest')
    .action(async (service: string, options: { readonly release?: string }, command) => {
      await registry.run(command, async (session) => {
        const ref = await resolveServiceRef(service, session.cli.spec, options.release);
        const client = await session.client();
        await warnWithoutWorker(session, client);
        const status = await client.status(ref);
        if (status.simulated) session.markSimulated();
        const about = { service: status.service, namespace: status.namespace, release: status.release };
        if (session.format === 'jsonl') {
          for (const event of status.events) {
            session.emit({
              apiVersion: API_VERSION,
              kind: 'ReleaseEvent',
              ...about,
              simulated: status.simulated,
              ...event,
            });
          }
          return;
        }
        const document = {
          apiVersion: API_VERSION,
          kind: 'ReleaseHistory',
          ...about,
          simulated: status.simulated,
          items: status.events,
        };
        session.result(document, () => storyLines(status, session.look));
      });
    });
}

function storyLines(status: ReleaseStatus, look: Look): string[] {
  const from = status.version.from ?? 'unknown';
  const title = `${status.namespace}/${status.service}: ${from} ${glyphs(look).arrow} ${status.version.to}, release ${status.release}`;
  return [paint(safeText(title), 'strong', look), ...eventStories(status.events, look)];
}

/** A reason is often that of several events in a row: told whole once, with its evidence, and referred to after that. */
function eventStories(events: readonly ReleaseEvent[], look: Look): string[] {
  const told: ReleaseEvent[] = [];
  return events.flatMap((event) => {
    const known = told.some(({ evidence }) => evidence !== undefined && evidence.at === event.evidence?.at);
    const message = withoutTold(
      event.message,
      told.map((one) => one.message),
    );
    told.push(event);
    return eventStory({ ...event, message }, known ? [] : (event.evidence?.metrics ?? []), look);
  });
}

/** Shorter ones are not worth the reference. */
const LONG_REASON = 40;

/** `Rolling back to v1: …` with a reason that an earlier message ends with, as `Rolling back to v1, for the reason above.` */
function withoutTold(message: string, told: readonly string[]): string {
  for (const { index } of message.matchAll(/: /gu)) {
    const reason = message.slice(index + 2);
    if (reason.length < LONG_REASON) break;
    if (told.some((one) => one.endsWith(reason))) return `${message.slice(0, index)}, for the reason above.`;
  }
  return message;
}

/** When and what on the first line; who and the evidence below, where there is any. */
function eventStory(event: ReleaseEvent, metrics: readonly MetricVerdict[], look: Look): string[] {
  const g = glyphs(look);
  const { symbol, tone } = eventLook(event.type, g);
  const indent = ' '.repeat(27);
  const [first = '', ...rest] = wrap(safeText(event.message), Math.max(30, look.width - indent.length - 2));
  const lines = [
    `${paint(formatDate(event.at), 'dim', look)} ${String(event.weight).padStart(3)} % ${paint(symbol, tone, look)} ${first}`,
    ...rest.map((line) => indent + line),
  ];
  if (event.actor.via !== 'workflow') {
    lines.push(paint(`${indent}by ${safeText(event.actor.name)} via ${event.actor.via}`, 'dim', look));
  }
  for (const metric of metrics) {
    const verdict = verdictLook(metric.verdict, g);
    lines.push(`${indent}${paint(verdict.symbol, verdict.tone, look)} ${safeText(metric.name)}  ${metricLine(metric)}`);
  }
  return lines;
}
