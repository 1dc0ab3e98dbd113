import type { FlagAnswer } from '../flags/answers';
import type { Plan, RouterTargetPlan, TargetPlan } from '../spec/plan-types';
import type { ServiceLook, TrackLook } from '../targets/kubernetes/service-look';
import type { ReleaseStatus } from '../workflows/api';
import { lookAtCluster } from './cluster-look';
import { safeText } from './display-width';
import { flagLines } from './flag-lines';
import { askFlagService } from './flag-service';
import { phaseLook } from './live-view';
import { API_VERSION, renderTable } from './output';
import type { ResultDocument } from './output';
import { askInstances } from './router-admin';
import type { InstanceAnswer } from './router-admin';
import { refName } from './service-ref';
import type { Session } from './session';
import { shortDigest } from './short-digest';
import { glyphs, paint } from './style';
import type { Look } from './style';
import { formatDate } from './units';

/** A service while no release of it is in progress: what there is now, by the cluster or the instances themselves. */
export interface ServiceStatus extends ResultDocument {
  readonly kind: 'ServiceStatus';
  readonly service: string;
  readonly namespace: string;
  readonly now: ServiceNow;
  /** The last release; null where there was none, or (`temporal: 'away'`) nobody could say. */
  readonly last: ReleaseStatus | null;
  readonly temporal: 'asked' | 'away';
}

export type ServiceNow =
  | ({ readonly target: 'kubernetes' } & ServiceLook)
  | { readonly target: 'router'; readonly instances: readonly InstanceAnswer[] }
  | { readonly target: 'flag'; readonly flag: FlagAnswer };

/** @throws ReleaseError for a target that cannot be looked at, or does not answer. */
export async function lookAtTarget(session: Session, target: TargetPlan): Promise<ServiceNow> {
  switch (target.kind) {
    case 'kubernetes':
      return { target: 'kubernetes', ...(await lookAtCluster(session, target)) };
    case 'router':
      return lookAtInstances(target);
    case 'flag':
      return {
        target: 'flag',
        flag: await askFlagService(session.cli.env, (service) => service.get(target.name), target),
      };
  }
}

async function lookAtInstances(target: RouterTargetPlan): Promise<ServiceNow> {
  return { target: 'router', instances: await askInstances(target) };
}

export function serviceStatus(
  { service, namespace }: Pick<Plan, 'service' | 'namespace'>,
  known: Pick<ServiceStatus, 'now' | 'last' | 'temporal'>,
): ServiceStatus {
  return { apiVersion: API_VERSION, kind: 'ServiceStatus', service, namespace, ...known };
}

/** What people read of a service without a release. */
export function serviceLines(status: ServiceStatus, look: Look): string[] {
  const { last, temporal } = status;
  const lines = [paint(safeText(refName(status)), 'strong', look)];
  if (temporal === 'away') lines.push('Release  not known, because Temporal does not answer');
  else if (last === null) lines.push(`Release  ${unknownRelease(status.now)}`);
  else {
    const ended = last.endedAt === null ? 'still keeps the old version' : `ended ${formatDate(last.endedAt)}`;
    const how = phaseLook(last, glyphs(look)).word.toLowerCase();
    lines.push(`Release  none in progress; ${safeText(last.release)} ${ended}: ${how}`);
  }
  return [...lines, ...nowLines(status.now, look)];
}

/** Where a release has left its fence there was one, and whoever is asked does not know it. */
function unknownRelease(now: ServiceNow): string {
  return now.target === 'kubernetes' && now.fence !== null
    ? 'not known to this Temporal, though one has left its fence (below): is this the right one (--address)?'
    : 'there was none yet';
}

export function nowLines(now: ServiceNow, look: Look): string[] {
  switch (now.target) {
    case 'kubernetes':
      return clusterLines(now, look);
    case 'router':
      return instanceLines(now.instances, look);
    case 'flag':
      return flagLines(now.flag, look);
  }
}

function clusterLines({ strategy, tracks, traffic, fence, leftovers }: ServiceLook, look: Look): string[] {
  const g = glyphs(look);
  const idle = tracks.find((track) => !track.active);
  const share = traffic.weight === null ? 'not known' : `${traffic.weight} % to ${idle?.name ?? 'the other track'}`;
  const lines = [
    `Traffic  ${share}, by ${traffic.by}${traffic.match.length === 0 ? '' : `; ${traffic.match.join('; ')} whatever the weight`}`,
    ...traffic.remarks.map((remark) => paint(`${g.warn} ${safeText(remark)}`, 'warn', look)),
    fence === null
      ? 'Fence    no release has written here'
      : `Fence    ${safeText(fence.release)}, step ${fence.step}, of ${formatDate(fence.epoch)}`,
    ...renderTable(
      ['TRACK', 'READY', 'DEPLOYMENT', 'IMAGE'],
      tracks.map((track) => trackRow(track, strategy === 'blueGreen', look)),
      look,
    ),
  ];
  if (leftovers.length > 0) {
    lines.push(...leftovers.map((one) => paint(`${g.warn} left: ${safeText(one)}`, 'warn', look)));
  }
  return lines;
}

function trackRow({ name, active, deployment, runs }: TrackLook, colours: boolean, look: Look): string[] {
  const shown = colours && active ? `${name} (active)` : name;
  if (runs === null) return [shown, '-', `${deployment} (is not there)`, '-'];
  const { replicas, image, digest } = runs;
  const whole = digest === null || image.includes(digest) ? image : `${image} (${digest})`;
  return [shown, `${replicas.ready}/${replicas.desired}`, deployment, shortDigest(safeText(whole), look)];
}

function instanceLines(instances: readonly InstanceAnswer[], look: Look): string[] {
  return renderTable(
    ['INSTANCE', 'WEIGHT', 'STABLE', 'CANARY'],
    instances.map((answer) => {
      if (!answer.ok) return [safeText(answer.instance), '-', '-', safeText(answer.problem)];
      const { weight, versions } = answer.metrics;
      return [safeText(answer.instance), `${weight} %`, safeText(versions.stable), safeText(versions.canary ?? '-')];
    }),
    look,
  );
}
