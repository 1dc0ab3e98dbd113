import { Option } from 'commander';
import { ReleaseError } from '../../errors';
import { detectInPlan, detectionLines, suggestForPlan } from '../plan-detection';
import { planLines } from '../plan-lines';
import { presentTraffic } from '../present-traffic';
import type { GivenTraffic } from '../present-traffic';
import type { Registry } from '../registry';
import { parsePercentArgument } from '../units';
import { makePlan } from './deploy';
import type { VersionOptions } from './deploy';

interface PlanOptions extends VersionOptions {
  readonly offline?: boolean;
  readonly traffic?: string;
  readonly base?: string;
  readonly suggest?: boolean;
  readonly rise?: string;
}

/** `sluice plan`: what a release would do and what it could find, without doing it. */
export function addPlanCommand(registry: Registry): void {
  registry
    .add('plan <release.yaml>', 'Print the steps, the total time, the metrics, and what each step can find', [
      'sluice plan release.yaml --version 1.4.2',
      'sluice plan release.yaml --image ghcr.io/acme/checkout:1.4.2   # of a release to Kubernetes',
      'sluice plan release.yaml --version 1.4.2 --traffic 100/s --base 0.5%   # without asking the metric source',
      'sluice plan release.yaml --version 1.4.2 --suggest                     # soaks that find five times the errors',
      'sluice plan release.yaml --version 1.4.2 -o json',
    ])
    .addOption(new Option('--version <version>', 'the version to release; to Kubernetes, an image'))
    .addOption(new Option('--image <reference>', 'the same, as an image reference').conflicts('version'))
    .option('--offline', 'do not ask the metric source for the present traffic')
    .option('--traffic <rate>', "requests to the whole service, 100/s, 500/m or 2000/h, instead of the source's")
    .option('--base <percent>', "share of requests that fail as it is, 0.5%, instead of the source's")
    .option('--suggest', 'print steps with soaks that find a rise, to be pasted into release.yaml')
    .option('--rise <times>', 'the rise that --suggest is about (default: 5x)')
    .action(async (path: string, options: PlanOptions, command) => {
      await registry.run(command, async (session) => {
        const given = parseTraffic(options);
        const rise = parseRise(options);
        const plan = await makePlan(session, path, options);
        const answer = await presentTraffic(session, plan, given);
        if (options.suggest === true) {
          const suggestion = suggestForPlan(plan, answer, rise);
          session.result({ ...plan, suggestion }, () => suggestion.yaml.trimEnd().split('\n'));
          return;
        }
        const detection = detectInPlan(plan, answer);
        session.result({ ...plan, detection }, () => [
          ...planLines(plan, session.cli.spec.describe(plan), session.look),
          ...detectionLines(detection, session.look),
        ]);
      });
    });
}

const SECONDS = { s: 1, m: 60, h: 3_600 } as const;

function parseTraffic({ traffic, base, offline }: PlanOptions): GivenTraffic {
  const share = base === undefined ? null : parsePercentArgument(base, '--base');
  if (share !== null && !(share > 0 && share < 1)) {
    throw new ReleaseError('usage', `--base is ${JSON.stringify(base)}, of which there are no multiples.`, {
      hint: 'Write a percentage above 0% and below 100%: of a service that never fails, one that it hardly reaches, 0.01%.',
    });
  }
  return {
    requestsPerSecond: traffic === undefined ? null : parseRate(traffic),
    base: share,
    offline: offline === true,
  };
}

function parseRate(text: string): number {
  const match = /^(\d{1,9}(?:\.\d{1,6})?)\/([smh])$/u.exec(text);
  const unit = match?.[2] as keyof typeof SECONDS | undefined;
  const rate = unit === undefined ? Number.NaN : Number(match?.[1]) / SECONDS[unit];
  if (rate > 0) return rate;
  throw new ReleaseError('usage', `--traffic is ${JSON.stringify(text)}, which is no rate above 0.`, {
    hint: 'Write requests for a second, a minute or an hour: 100/s, 500/m, 2000/h.',
  });
}

const DEFAULT_RISE = 5;
const LARGEST_RISE = 1_000;

function parseRise({ rise, suggest }: PlanOptions): number {
  if (rise === undefined) return DEFAULT_RISE;
  if (suggest !== true) {
    throw new ReleaseError('usage', '--rise says what --suggest is about, and --suggest is not given.', {
      hint: 'Add --suggest, or leave --rise out: the plan shows what each step finds.',
    });
  }
  const value = /^\d{1,4}(\.\d{1,3})?x?$/u.test(rise) ? Number(rise.replace('x', '')) : Number.NaN;
  if (value > 1 && value <= LARGEST_RISE) return value;
  throw new ReleaseError('usage', `--rise is ${JSON.stringify(rise)}, which is no rise.`, {
    hint: `Write how many times as bad as stable, above 1 and at most ${LARGEST_RISE}: 5x, 2.5x.`,
  });
}
