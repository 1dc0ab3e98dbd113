import {
  countBatch,
  judgeEvidence,
  metricLogEvidence,
  NOTHING_COUNTED,
  worstVerdict,
} from '../../analysis/evidence-judge';
import type { EvidenceVerdict } from '../../analysis/evidence-judge';
import { judgeAsKayenta } from '../../analysis/kayenta-judge';
import type { KayentaResult } from '../../analysis/kayenta-policy';
import type { Verdict } from '../../analysis/verdict';
import { ReleaseError } from '../../errors';
import { parseJudgeInput } from '../../spec/judge-input';
import type { JudgeInput } from '../../spec/judge-input';
import { parseKayentaConfig, parseKayentaData } from '../../spec/kayenta-config';
import { safeText, wrap } from '../display-width';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { readJsonFile } from '../json-file';
import { renderTable } from '../output';
import type { Registry } from '../registry';
import type { Session } from '../session';
import { paint } from '../style';
import type { Look, Tone } from '../style';

interface JudgeOptions {
  readonly kayenta?: string;
  readonly exact?: boolean;
  readonly exitCode?: boolean;
}

/** `sluice judge`: the judges on counts and series from a file, without a release. */
export function addJudgeCommand(registry: Registry): void {
  registry
    .add('judge <file>', 'Judge counts from a file, as a release would; - for the standard input', [
      'sluice judge counts.json',
      'sluice judge - -o json < counts.json',
      'sluice judge counts.json --exit-code   # 0 pass, 3 fail, 8 neither',
      'sluice judge --kayenta canary-config.json data.json',
    ])
    .option('--kayenta <config>', "judge by a canary config of Kayenta's, and its judge")
    .option('--exact', "with --kayenta: exact intervals where R takes them, instead of Kayenta's approximation")
    .option('--exit-code', 'end with the code of the verdict')
    .action(async (file: string, options: JudgeOptions, command) => {
      await registry.run(command, async (session) => {
        const verdict =
          options.kayenta === undefined
            ? await judgeCounts(session, file, options)
            : await judgeSeries(session, options.kayenta, file, options);
        return options.exitCode === true ? exitCodeOf(verdict) : EXIT.ok;
      });
    });
}

async function judgeCounts(session: Session, path: string, options: JudgeOptions): Promise<Verdict> {
  if (options.exact === true) {
    throw new ReleaseError('usage', '--exact is for --kayenta alone.', {
      hint: 'Leave it out: ln E has no other way.',
    });
  }
  const input = await readJsonFile(session.cli, { path, holds: 'counts to be judged', check: parseJudgeInput });
  const judged = input.metrics.map((each) => judgeMetric(input, each));
  const verdict = worstVerdict(judged.map((each) => each.verdict.verdict));
  const metrics = judged.map(({ verdict: { name, verdict: own }, logs }) => ({ name, lnE: logs, verdict: own }));
  session.result({ metrics, verdict }, () => evidenceLines(judged, verdict, session.look));
  return verdict;
}

interface JudgedMetric {
  readonly verdict: EvidenceVerdict;
  /** ln E after each batch. */
  readonly logs: readonly number[];
}

function judgeMetric({ policy }: JudgeInput, { metric, batches }: JudgeInput['metrics'][number]): JudgedMetric {
  let state = NOTHING_COUNTED;
  const logs: number[] = [];
  for (const batch of batches) {
    state = countBatch(policy, metric, state, batch);
    logs.push(metricLogEvidence(policy, metric, state));
  }
  return { verdict: judgeEvidence(policy, metric, state), logs };
}

function evidenceLines(judged: readonly JudgedMetric[], verdict: Verdict, look: Look): string[] {
  const rows = judged.map(({ verdict: { name, verdict: own, logEvidence, limit }, logs }) => [
    safeText(name),
    own,
    String(logs.length),
    logEvidence.toFixed(2),
    Math.max(0, ...logs).toFixed(2),
    limit.toFixed(2),
  ]);
  return [
    ...renderTable(['METRIC', 'VERDICT', 'BATCHES', 'LN E', 'HIGHEST', 'FAILS AT'], rows, look),
    '',
    ...judged.flatMap((each) => wrap(safeText(each.verdict.sentence), look.width)),
    `Verdict: ${paint(verdict, toneOf(verdict), look)}`,
  ];
}

async function judgeSeries(session: Session, config: string, path: string, options: JudgeOptions): Promise<Verdict> {
  if (config === '-' && path === '-') {
    throw new ReleaseError('usage', 'The config and the data cannot both come from the standard input.', {
      hint: 'Give at least one of them as a file.',
    });
  }
  const { cli } = session;
  const policy = await readJsonFile(cli, {
    path: config,
    holds: 'a canary config of Kayenta',
    check: parseKayentaConfig,
  });
  const series = await readJsonFile(cli, {
    path,
    holds: 'control and experiment of each metric',
    check: (document) => parseKayentaData(policy, document),
  });
  const result = judgeAsKayenta(policy, series, options.exact === true ? 'exact' : 'normal');
  const { groups, score, classification } = result;
  const metrics = result.metrics.map((metric) => ({ name: metric.name, classification: metric.classification }));
  session.result({ metrics, groups, score, classification }, () => kayentaLines(result, session.look));
  return classification === 'Pass' ? 'pass' : classification === 'Fail' ? 'fail' : 'inconclusive';
}

function kayentaLines({ metrics, groups, classification, sentence }: KayentaResult, look: Look): string[] {
  const tone = classification === 'Pass' ? 'good' : classification === 'Fail' ? 'bad' : 'warn';
  return [
    ...renderTable(
      ['METRIC', 'CLASSIFICATION'],
      metrics.map((metric) => [safeText(metric.name), metric.classification]),
      look,
    ),
    '',
    ...renderTable(
      ['GROUP', 'SCORE'],
      Object.entries(groups).map(([group, score]) => [safeText(group), String(Math.round(score * 100) / 100)]),
      look,
    ),
    '',
    ...metrics.flatMap((metric) => wrap(safeText(metric.sentence), look.width)),
    paint(sentence, tone, look),
  ];
}

function toneOf(verdict: Verdict): Tone {
  return verdict === 'pass' ? 'good' : verdict === 'fail' ? 'bad' : 'warn';
}

/** As that of a release: 3 for what would take it back, 8 for what would leave it waiting. */
function exitCodeOf(verdict: Verdict): ExitCode {
  switch (verdict) {
    case 'pass':
      return EXIT.ok;
    case 'fail':
      return EXIT.rolledBack;
    case 'inconclusive':
    case 'insufficient-data':
      return EXIT.pending;
    case 'error':
      return EXIT.error;
    default:
      return verdict satisfies never;
  }
}
