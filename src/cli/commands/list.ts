import type { ReleaseSummary } from '../../client/client-types';
import { ReleaseError } from '../../errors';
import { safeText } from '../display-width';
import { phaseLook } from '../live-view';
import { API_VERSION, renderTable } from '../output';
import type { Registry } from '../registry';
import { refName, resolveServiceRef } from '../service-ref';
import { shortDigest } from '../short-digest';
import { glyphs } from '../style';
import type { Glyphs } from '../style';
import { formatDate, formatDuration } from '../units';

interface ListCommandOptions {
  readonly open?: boolean;
  readonly inNamespace?: string;
  readonly limit: string;
}

/** `sluice list`: the releases, newest first. */
export function addListCommand(registry: Registry): void {
  registry
    .add('list [service]', 'List releases, newest first', [
      'sluice list',
      'sluice list --open              # those in progress',
      'sluice list shop/checkout -o json',
    ])
    .option('--open', 'only those in progress')
    .option('-n, --in-namespace <namespace>', 'only those of one namespace')
    .option('--limit <number>', 'at most so many', '50')
    .action(async (service: string | undefined, options: ListCommandOptions, command) => {
      await registry.run(command, async (session) => {
        const limit = parseLimit(options.limit);
        const ref = service === undefined ? null : await resolveServiceRef(service, session.cli.spec);
        const client = await session.client();
        const releases = await client.list({
          limit,
          ...(options.open === true ? { open: true } : {}),
          ...(options.inNamespace === undefined ? {} : { namespace: options.inNamespace }),
          ...(ref ?? {}),
        });
        if (session.format === 'jsonl') {
          for (const release of releases) session.emit({ apiVersion: API_VERSION, kind: 'Release', ...release });
          return;
        }
        const now = session.cli.now();
        const { look } = session;
        const mark = glyphs(look);
        session.result({ apiVersion: API_VERSION, kind: 'ReleaseList', items: releases }, () =>
          releases.length === 0
            ? []
            : renderTable(
                ['SERVICE', 'VERSION', 'STATE', 'WEIGHT', 'RELEASE', 'STARTED', 'TOOK'],
                releases.map((release) =>
                  row({ ...release, version: shortDigest(release.version, look) }, now, stateOf(release, mark)),
                ),
                look,
              ),
        );
        if (releases.length === 0) session.note('There are no such releases.');
      });
    });
}

function stateOf({ phase, simulated, ...ended }: ReleaseSummary, mark: Glyphs): string {
  if (phase === 'queued') return `${mark.todo} Queued`;
  const { symbol, word } = phaseLook({ phase, ...ended }, mark);
  return `${symbol} ${word}${simulated === true ? ' [simulated]' : ''}`;
}

function row(release: ReleaseSummary, now: number, state: string): string[] {
  return [
    safeText(refName(release)),
    safeText(release.version),
    state,
    `${release.weight} %`,
    // Before the times: where a terminal is narrow, the id is what other commands ask for.
    safeText(release.release),
    release.phase === 'queued' ? 'not yet' : formatDate(release.startedAt),
    formatDuration((release.endedAt ?? now) - release.startedAt),
  ];
}

function parseLimit(text: string): number {
  const limit = /^\d{1,5}$/u.test(text) ? Number(text) : 0;
  if (limit < 1) {
    throw new ReleaseError('usage', `--limit is ${JSON.stringify(text)}, which is no number of releases.`, {
      hint: 'Write a whole number from 1 on.',
    });
  }
  return limit;
}
