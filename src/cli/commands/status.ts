import type { ServiceRef } from '../../client/client-types';
import { messageOf, ReleaseError } from '../../errors';
import type { Plan } from '../../spec/plan-types';
import type { ReleaseStatus } from '../../workflows/api';
import { EXIT, exitCodeOfStatus } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import type { Registry } from '../registry';
import { lookAtTarget, nowLines, serviceLines, serviceStatus } from '../service-status';
import type { ServiceNow } from '../service-status';
import type { Session } from '../session';
import { fileOption, planAnyVersion, resolveGivenService } from '../spec-file';
import { summaryLines } from '../summary';
import { isAway, withWayAround } from '../temporal-away';
import { warnWithoutWorker } from '../workers';

interface StatusOptions {
  readonly release?: string;
  readonly exitCode?: boolean;
  readonly file?: string;
}

/** `sluice status`: the current or last release of a service, and where none is in progress what there is now. */
export function addStatusCommand(registry: Registry): void {
  registry
    .add('status [service]', 'How the current or last release of a service stands', [
      'sluice status checkout',
      'sluice status shop/checkout -o json',
      'sluice status release.yaml   # and what the cluster has, also while Temporal is away',
      'sluice status -f release.yaml   # the same',
      'sluice status checkout --exit-code   # 0 promoted, 3 rolled back, 5 aborted, 8 in progress',
    ])
    .addOption(fileOption())
    .option('--release <id>', 'a certain release instead of the newest')
    .option('--exit-code', 'end with the code that says how it stands')
    .action(async (service: string | undefined, options: StatusOptions, command) => {
      await registry.run(command, (session) => status(session, service, options));
    });
}

async function status(session: Session, service: string | undefined, options: StatusOptions): Promise<ExitCode> {
  const { ref, file } = await resolveGivenService(session, service, options);
  const asked = await askTemporal(session, ref, file !== undefined);
  const { release } = asked;
  if (release?.simulated === true) session.markSimulated();
  if (release !== null && (release.outcome === null || options.release !== undefined)) printRelease(session, release);
  else if (file !== undefined) await printService(session, await planAnyVersion(session, file), asked);
  else if (release !== null) {
    const now = await nowBy(session, asked.plan);
    printRelease(session, release, now === null ? null : besides(release, now));
  }
  return options.exitCode === true && release !== null ? exitCodeOfStatus(release) : EXIT.ok;
}

/** What there is now, by a spec. Where that cannot be seen, what is known of the last release is still worth its while. */
async function printService(session: Session, plan: Plan, { release, temporal }: Asked): Promise<void> {
  const now = release === null ? await lookAtTarget(session, plan.target) : await nowBy(session, plan);
  if (now !== null) {
    const document = serviceStatus(plan, { now: besides(release, now), last: release, temporal });
    session.result(document, () => serviceLines(document, session.look));
  } else if (release !== null) printRelease(session, release);
}

function printRelease(session: Session, release: ReleaseStatus, now: ServiceNow | null = null): void {
  const { look, cli } = session;
  const goneBack = now !== null && goneBackTo(release, now) !== null;
  session.result(now === null ? release : { ...release, now }, () => [
    ...summaryLines(release, look, { now: cli.now(), goneBack }),
    ...(now === null ? [] : ['', ...nowLines(now, look)]),
  ]);
}

/**
 * What a release that still keeps its old version has on the cluster is not left over. It looks there only at the end of
 * that time, so who has gone back without it is told here.
 */
function besides(release: ReleaseStatus | null, now: ServiceNow): ServiceNow {
  if (release === null || release.endedAt !== null || now.target !== 'kubernetes') return now;
  const to = goneBackTo(release, now);
  const remark = `The Service finds ${to}, which does not run what was promoted: somebody has gone back without the release, and it will take nothing away there.`;
  const remarks = to === null ? now.traffic.remarks : [...now.traffic.remarks, remark];
  return { ...now, leftovers: [], traffic: { ...now.traffic, remarks } };
}

/** The track that the Service finds, where that is not what a release has promoted that still keeps its old version. */
function goneBackTo({ endedAt, version: { artifact } }: ReleaseStatus, now: ServiceNow): string | null {
  if (endedAt !== null || now.target !== 'kubernetes') return null;
  const active = now.tracks.find((track) => track.active);
  const digest = active?.runs?.digest ?? null;
  if (active === undefined || digest === null || artifact === null) return null;
  return artifact.endsWith(digest) ? null : active.name;
}

interface Asked {
  readonly release: ReleaseStatus | null;
  /** Of that release; null where it is not needed, or not known any more. */
  readonly plan: Plan | null;
  readonly temporal: 'asked' | 'away';
}

/** What Temporal knows. With a spec in hand the look at the service does not depend on it. */
async function askTemporal(session: Session, ref: ServiceRef, withSpec: boolean): Promise<Asked> {
  try {
    const client = await session.client();
    await warnWithoutWorker(session, client);
    const release = await client.status(ref);
    const needsPlan = !withSpec && release.outcome !== null && ref.release === undefined;
    return { release, plan: needsPlan ? await client.lastPlan(ref) : null, temporal: 'asked' };
  } catch (error) {
    if (!(error instanceof ReleaseError)) throw error;
    if (error.code === 'not-found' && ref.release === undefined) {
      if (withSpec) return { release: null, plan: null, temporal: 'asked' };
      throw new ReleaseError('not-found', error.message, {
        hint: 'What there is without a release is shown by its spec: -f release.yaml.',
        cause: error,
      });
    }
    if (!isAway(error) || ref.release !== undefined) throw error;
    if (!withSpec)
      throw withWayAround(error, 'What there is now is shown without Temporal by its spec: -f release.yaml.');
    session.warn(`The release is not known: ${error.message}`);
    return { release: null, plan: null, temporal: 'away' };
  }
}

/** By a plan: the spec's, or the last release's. Who may not look at the cluster still reads how the release ended. */
async function nowBy(session: Session, plan: Plan | null): Promise<ServiceNow | null> {
  if (plan === null) return null;
  try {
    return await lookAtTarget(session, plan.target);
  } catch (error) {
    if (!(error instanceof ReleaseError)) throw error;
    session.note(`What there is now could not be seen: ${messageOf(error)}`);
    return null;
  }
}
