import { Option } from 'commander';
import type { Command } from 'commander';
import type { DeployResult, ServiceRef, SluiceClient } from '../client/client-types';
import { messageOf, ReleaseError } from '../errors';
import type { OnConflict, Plan } from '../spec/plan-types';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { chooseView, follow, reportEnd } from './follow';
import type { FollowEnd } from './follow';
import { API_VERSION } from './output';
import { checkReportPath, REPORT_OPTION, writeReleaseReport } from './report-file';
import { refName } from './service-ref';
import type { Session } from './session';
import { summaryLines } from './summary';
import { awaitTurn } from './turn';
import { parseDurationArgument } from './units';
import { requireOurs } from './workers';

/** What the commands that start a release have in common. */
export interface StartOptions {
  readonly wait?: boolean;
  readonly watch?: boolean;
  readonly detach?: boolean;
  readonly exitOnHold?: boolean;
  readonly timeout?: string;
  readonly onConflict?: OnConflict;
  readonly reason?: string;
  readonly report?: string;
}

export function addStartOptions(command: Command): Command {
  return command
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
    .addOption(new Option(...REPORT_OPTION).conflicts('detach'))
    .option('--reason <text>', 'why, for the record');
}

/** @throws ReleaseError `usage`; asked before anything else is done, and of a --dry-run, too. */
export async function checkStartOptions({ timeout, report }: StartOptions): Promise<void> {
  if (timeout !== undefined) parseDurationArgument(timeout, '--timeout');
  if (report !== undefined) await checkReportPath(report);
}

/** Starts the release of a plan, and by default on a terminal watches it. */
export async function startRelease(session: Session, plan: Plan, options: StartOptions): Promise<ExitCode> {
  const timeoutMs = options.timeout === undefined ? undefined : parseDurationArgument(options.timeout, '--timeout');
  const client = await session.client();
  await requireOurs(session, client);
  const started = await client
    .deploy(plan, {
      actor: session.actor(),
      ...(options.reason === undefined ? {} : { reason: options.reason }),
      ...(options.onConflict === undefined ? {} : { onConflict: options.onConflict }),
    })
    .catch(async (error: unknown) => {
      throw (await isRollingBack(client, plan, error)) ? duringRollBack(error) : error;
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
    report: options.report,
  });
}

/** Whether a start was refused for a release that is being taken back already. */
async function isRollingBack(client: SluiceClient, plan: Plan, error: unknown): Promise<boolean> {
  if (!(error instanceof ReleaseError) || error.code !== 'conflict') return false;
  const ref: ServiceRef = { service: plan.service, namespace: plan.namespace };
  // The refusal stands, whether or not this can be found out.
  const status = await client.status(ref).catch(() => null);
  return status?.phase === 'rollingBack';
}

function duringRollBack(error: unknown): ReleaseError {
  return new ReleaseError('conflict', `${messageOf(error)} It is being rolled back already.`, {
    hint: 'Wait until it is, or say --on-conflict queue or supersede: the new one begins then.',
    cause: error,
  });
}

interface Following {
  readonly plan: Plan;
  readonly started: DeployResult;
  readonly follows: 'wait' | 'watch';
  readonly timeoutMs: number | undefined;
  readonly stopOnHold: boolean;
  readonly report: string | undefined;
}

async function followDeployment(session: Session, client: SluiceClient, following: Following): Promise<ExitCode> {
  const { plan, started, follows, timeoutMs, stopOnHold, report } = following;
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
  if (end.status !== null && report !== undefined) await writeReleaseReport(session, report, end.status);
  return code;
}

/** The last status as the result, unless it stands there already. */
function printEnd(session: Session, end: FollowEnd, drawn: boolean): void {
  const { status } = end;
  if (status === null || drawn || session.format === 'jsonl') return;
  session.result(status, () => summaryLines(status, session.look, { now: session.cli.now() }));
}

function chooseFollowing(session: Session, options: StartOptions): 'wait' | 'watch' | 'detach' {
  if (options.detach === true) return 'detach';
  if (options.wait === true) return 'wait';
  if (options.watch === true || session.cli.stdout.isTTY === true) return 'watch';
  const asksToFollow = options.timeout !== undefined || options.exitOnHold === true || options.report !== undefined;
  return asksToFollow ? 'wait' : 'detach';
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
