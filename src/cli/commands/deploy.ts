import { Option } from 'commander';
import type { DeployResult, ServiceRef, SluiceClient } from '../../client/client-types';
import type { OnConflict, Plan } from '../../spec/plan-types';
import { ReleaseError } from '../../errors';
import { safeText } from '../display-width';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { chooseView, follow, reportEnd } from '../follow';
import type { FollowEnd } from '../follow';
import { API_VERSION } from '../output';
import { planLines } from '../plan-lines';
import type { Registry } from '../registry';
import { refName } from '../service-ref';
import type { Session } from '../session';
import { parseScript } from '../simulation-script';
import { summaryLines } from '../summary';
import { awaitTurn } from '../turn';
import { parseDurationArgument } from '../units';
import { warnWithoutWorker } from '../workers';

export interface VersionOptions {
  readonly version?: string;
  readonly image?: string;
}

interface DeployCommandOptions extends VersionOptions {
  readonly wait?: boolean;
  readonly watch?: boolean;
  readonly detach?: boolean;
  readonly exitOnHold?: boolean;
  readonly timeout?: string;
  readonly onConflict?: OnConflict;
  readonly reason?: string;
  readonly dryRun?: boolean;
  readonly simulate?: string;
}

/** `sluice deploy`: starts a release, and by default on a terminal watches it. */
export function addDeployCommand(registry: Registry): void {
  registry
    .add('deploy <release.yaml>', 'Release a version', [
      'sluice deploy release.yaml --version 1.4.2',
      'sluice deploy release.yaml --image ghcr.io/acme/checkout:1.4.2 --wait --timeout 2h   # in CI',
      'sluice deploy release.yaml --version 1.4.2 --dry-run',
    ])
    .addOption(new Option('--version <version>', 'the version to release'))
    .addOption(new Option('--image <reference>', 'the same, as an image reference').conflicts('version'))
    .addOption(new Option('--watch', 'watch it to its end (the default on a terminal)').conflicts(['wait', 'detach']))
    .addOption(new Option('--wait', 'wait for its end, a line per change on stderr').conflicts('detach'))
    .addOption(new Option('--detach', 'return once it has started (the default elsewhere)'))
    .addOption(new Option('--timeout <duration>', 'watch or wait no longer than this; the release continues'))
    .addOption(new Option('--exit-on-hold', 'end with code 8 as soon as it waits for a person'))
    .addOption(
      new Option('--on-conflict <what>', 'when another release of the service runs').choices([
        'reject',
        'queue',
        'supersede',
      ]),
    )
    .option('--reason <text>', 'why, for the record')
    .option('--dry-run', 'print the plan and do nothing')
    .option(
      '--simulate <script>',
      'numbers from a script instead of the metric source: healthy, failing@25, no-data, or a file',
    )
    .action(async (path: string, options: DeployCommandOptions, command) => {
      await registry.run(command, (session) => deploy(session, path, options));
    });
}

async function deploy(session: Session, path: string, options: DeployCommandOptions): Promise<ExitCode> {
  const { cli } = session;
  const timeoutMs = options.timeout === undefined ? undefined : parseDurationArgument(options.timeout, '--timeout');
  const plan = await makePlan(session, path, options);
  if (options.dryRun === true) {
    session.result(plan, () => planLines(plan, cli.spec.describe(plan), session.look));
    return EXIT.ok;
  }

  const client = await session.client();
  await warnWithoutWorker(session, client);
  const started = await client.deploy(plan, {
    actor: session.actor(),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(options.onConflict === undefined ? {} : { onConflict: options.onConflict }),
  });
  const supersedes = (options.onConflict ?? plan.onConflict) === 'supersede';
  const follows = chooseFollowing(session, options);
  if (follows === 'detach') {
    const document = {
      apiVersion: API_VERSION,
      kind: 'Deployment',
      service: plan.service,
      namespace: plan.namespace,
      version: plan.version,
      ...started,
    };
    session.result(document, () => startedLines(plan, started, supersedes));
    return EXIT.ok;
  }
  for (const line of startedLines(plan, started, supersedes).slice(0, 1)) session.note(line);
  return followDeployment(session, client, {
    plan,
    started,
    follows,
    timeoutMs,
    stopOnHold: options.exitOnHold === true,
  });
}

interface Following {
  readonly plan: Plan;
  readonly started: DeployResult;
  readonly follows: 'wait' | 'watch';
  readonly timeoutMs: number | undefined;
  readonly stopOnHold: boolean;
}

async function followDeployment(session: Session, client: SluiceClient, following: Following): Promise<ExitCode> {
  const { plan, started, follows, timeoutMs, stopOnHold } = following;
  const ref: ServiceRef = { service: plan.service, namespace: plan.namespace, release: started.release };
  const begun = session.cli.now();
  if (started.state === 'queued') {
    const cut = await awaitTurn(session, client, ref, timeoutMs);
    if (cut !== null) return reportEnd(session, ref, cut);
  }
  const view = follows === 'watch' ? chooseView(session) : 'notes';
  const end = await follow(session, client, ref, {
    // A pipe's stdout is kept for the result; only a terminal and a stream of events are drawn on it.
    view: view === 'lines' ? 'notes' : view,
    stopOnHold,
    ...(timeoutMs === undefined ? {} : { timeoutMs: Math.max(0, timeoutMs - (session.cli.now() - begun)) }),
  });
  const code = reportEnd(session, ref, end);
  printEnd(session, end, view === 'frame');
  return code;
}

/** The last status as the result, unless it stands there already. */
function printEnd(session: Session, end: FollowEnd, drawn: boolean): void {
  const { status } = end;
  if (status === null || drawn || session.format === 'jsonl') return;
  session.result(status, () => summaryLines(status, session.look, session.cli.now()));
}

/** The plan of a file for the version of the command line; with `--simulate`, over made-up numbers. */
export async function makePlan(
  session: Session,
  path: string,
  options: VersionOptions & { readonly simulate?: string },
): Promise<Plan> {
  const version = options.version ?? options.image;
  if (version === undefined) {
    throw new ReleaseError('usage', 'It is not said which version to release.', {
      hint: 'Add --version 1.4.2, or --image ghcr.io/acme/checkout:1.4.2.',
    });
  }
  const script = options.simulate === undefined ? null : await parseScript(options.simulate);
  if (script === null) return session.cli.spec.plan(path, version);
  session.markSimulated();
  session.warn(
    'The metric source is replaced by a script: no verdict of this release says anything about the version.',
  );
  return session.cli.spec.plan(path, version, script);
}

function chooseFollowing(session: Session, options: DeployCommandOptions): 'wait' | 'watch' | 'detach' {
  if (options.detach === true) return 'detach';
  if (options.wait === true) return 'wait';
  if (options.watch === true || session.cli.stdout.isTTY === true) return 'watch';
  return options.timeout === undefined && options.exitOnHold !== true ? 'detach' : 'wait';
}

function startedLines(plan: Plan, started: DeployResult, supersedes: boolean): string[] {
  const name = refName(plan);
  const version = safeText(plan.version);
  if (started.state === 'queued') {
    const other = started.behind === null ? 'another release' : safeText(started.behind);
    const watch = `Watch it: sluice watch ${name} --release ${started.release}`;
    if (started.endsKeeping === true) {
      return [
        `Release ${started.release} of ${name} ${version} begins as soon as ${other}, which is promoted, has given up the old version that it keeps.`,
        watch,
      ];
    }
    return [
      supersedes
        ? `Release ${started.release} of ${name} ${version} supersedes ${other}, and begins when that is rolled back.`
        : `Release ${started.release} of ${name} ${version} is queued behind ${other}.`,
      watch,
    ];
  }
  return [`Release ${started.release} of ${name} ${version} has started.`, `Watch it: sluice watch ${name}`];
}
