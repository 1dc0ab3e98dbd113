import type { Check } from '../check';
import { safeText } from '../display-width';
import { runChecks } from '../doctor-checks';
import { EXIT } from '../exit-codes';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import { glyphs, paint } from '../style';
import type { Look } from '../style';

interface DoctorOptions {
  readonly slack?: boolean;
}

/** `sluice doctor`: what is needed for a release, one check a line, each with what to do. */
export function addDoctorCommand(registry: Registry): void {
  registry
    .add('doctor [release.yaml]', 'Check everything a release needs, and say what to do', [
      'sluice doctor',
      'sluice doctor release.yaml   # the metric source, the instances and the tokens as well',
    ])
    .option('--no-slack', 'do not ask Slack')
    .action(async (path: string | undefined, options: DoctorOptions, command) => {
      await registry.run(command, async (session) => {
        const checks: Check[] = [];
        for await (const check of runChecks(session, { path, slack: options.slack !== false })) {
          checks.push(check);
          if (session.format === 'table') for (const line of checkLines(check, session.look)) session.print(line);
          if (session.format === 'jsonl') session.emit({ apiVersion: API_VERSION, kind: 'Check', ...check });
        }
        const failed = checks.filter(({ state }) => state === 'bad').length;
        const document = { apiVersion: API_VERSION, kind: 'Diagnosis', healthy: failed === 0, checks };
        if (session.format === 'json' || session.format === 'yaml') session.result(document, () => []);
        if (failed > 0) session.note(`${failed} of ${checks.length} checks failed.`);
        return failed === 0 ? EXIT.ok : EXIT.error;
      });
    });
}

function checkLines({ state, name, sentence, hint }: Check, look: Look): string[] {
  const g = glyphs(look);
  const [symbol, tone] =
    state === 'ok'
      ? ([g.ok, 'good'] as const)
      : state === 'bad'
        ? ([g.bad, 'bad'] as const)
        : ([g.warn, 'warn'] as const);
  const first = `${paint(symbol, tone, look)} ${name}: ${safeText(sentence)}`;
  return hint === null ? [first] : [first, `    ${safeText(hint)}`];
}
