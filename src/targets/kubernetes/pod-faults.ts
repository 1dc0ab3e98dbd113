import { shorten } from './cluster-failure';
import type { DeploymentView } from './deployment-view';
import { nodeNewsOf } from './node-news';
import type { NodeNewsOfPods } from './node-news';
import { isUnschedulable, notScheduled } from './pod-view';
import type { ContainerState, ObjectCondition, PodView, ReplicaSetView } from './pod-view';
import { judgePull } from './pull-failure';
import type { PullHistory } from './pull-history';

/** What keeps a pod from being ready; in the order in which it is told. */
export const POD_FAULTS = [
  'refused', // the API server does not take the pods: quota, admission
  'imagePull',
  'config', // a ConfigMap or Secret that is named and missing
  'outOfMemory',
  'crashLoop',
  'unschedulable',
  'evicted',
  'container', // the runtime cannot make or start it
  'restarted',
  'notReady',
  'waiting',
] as const;

export type PodFaultKind = (typeof POD_FAULTS)[number];

export interface PodFault {
  readonly kind: PodFaultKind;
  /** True for what waiting will not mend; the rest are hints, and may still come right. */
  readonly lasting: boolean;
  /** Name of the pod; null for one that was never made. */
  readonly pod: string | null;
  /** Names the pod, the container and the pod's own words. */
  readonly sentence: string;
}

type Finding = Omit<PodFault, 'pod'>;

export interface FaultGraces {
  /**
   * How long nobody may find room for a pod while no node is said to be coming. Pods that end leave theirs within the 30 s
   * that they get by default; the cluster-autoscaler scans every 10 s and Karpenter gathers pods for 10 s at most, so by
   * then either has spoken.
   */
  readonly unschedulableMs: number;
  /**
   * How long a quota may refuse pods while nothing moves: in a rolling update the old ones free it as they end, 30 s after
   * they are told.
   */
  readonly refusedMs: number;
}

export const FAULT_GRACES: FaultGraces = { unschedulableMs: 30_000, refusedMs: 45_000 };

/** Back-offs of a passing pull failure before it counts as lasting: the registry had its second chance. */
const PULL_BACK_OFFS = 2;

/** Restarts after which a container that does not run is in a crash loop, whatever the kubelet calls it. */
const CRASH_RESTARTS = 2;

export interface PodLook {
  readonly deployment: DeploymentView;
  /** Of the newest template; null while its controller has made none. */
  readonly replicaSet: ReplicaSetView | null;
  /** Of that ReplicaSet. */
  readonly pods: readonly PodView[];
  readonly pulls: PullHistory;
  /** Of those that find no node. */
  readonly nodeNews: NodeNewsOfPods;
  /** Pods of older templates were seen to go in a rolling update: they leave room, though no node comes. */
  readonly olderGo: boolean;
  /** Milliseconds since 1970, compared with the cluster's own times. */
  readonly now: number;
}

interface Judging {
  readonly look: PodLook;
  readonly graces: FaultGraces;
}

/** Everything that is wrong with the newest version's pods, the most telling first. */
export function findPodFaults(look: PodLook, graces: FaultGraces = FAULT_GRACES): readonly PodFault[] {
  const ofPods = look.pods.flatMap((pod) => faultsOf(pod, look, graces).map((one) => ({ ...one, pod: pod.name })));
  const faults = [...refusals(look, graces).map((one) => ({ ...one, pod: null })), ...ofPods];
  const rank = (fault: PodFault): number => POD_FAULTS.indexOf(fault.kind) + (fault.lasting ? 0 : POD_FAULTS.length);
  return faults.sort((a, b) => rank(a) - rank(b));
}

function faultsOf(pod: PodView, look: PodLook, graces: FaultGraces): readonly Finding[] {
  const shown = `Pod ${pod.namespace}/${pod.name}`;
  if (pod.phase === 'Failed') {
    return [hint('evicted', `${shown} failed${reasonAndWords(pod.reason, pod.message)}.`)];
  }
  const condition = notScheduled(pod);
  if (condition !== null) {
    return [
      isUnschedulable(condition) ? noNode(shown, pod, condition, { look, graces }) : notYetScheduled(shown, condition),
    ];
  }
  return pod.containers.flatMap((container) => containerFault(shown, pod, container, look));
}

function notYetScheduled(shown: string, { reason, message }: ObjectCondition): Finding {
  return hint('unschedulable', `${shown} is not scheduled${reasonAndWords(reason, message)}.`);
}

function noNode(shown: string, pod: PodView, condition: ObjectCondition, { look, graces }: Judging): Finding {
  const sinceMs = ageMs(condition, look.now);
  const seconds = Math.max(0, Math.round(sinceMs / 1000));
  const told = (lasting: boolean, more = ''): Finding => ({
    kind: 'unschedulable',
    lasting,
    sentence: `${shown} finds no node for ${seconds} s${quoted(condition.message)}.${more}`,
  });
  const standingMs = look.olderGo ? Math.min(sinceMs, sinceProgressMs(look)) : sinceMs;
  const tooLong = standingMs >= graces.unschedulableMs;
  const news = nodeNewsOf(pod.name, look.nodeNews);
  switch (news) {
    case undefined: // others of the version were asked about, and decide
      return told(false);
    case 'silent':
      return told(tooLong);
    case 'unread':
      return told(tooLong, ' Whether a node is coming is not known: the permission to list its events is missing.');
    default:
      return news.coming
        ? told(false, ` A node was asked for (${news.by})${quoted(news.message)}.`)
        : told(tooLong, ` No node is coming (${news.by})${quoted(news.message)}.`);
  }
}

function containerFault(shown: string, pod: PodView, container: ContainerState, look: PodLook): readonly Finding[] {
  const at = `${shown}: container ${container.name}`;
  const waiting = container.state?.waiting ?? null;
  if (waiting !== null && PULL_REASONS.has(waiting.reason)) return [pullFault(at, pod, container, look)];
  if (waiting?.reason === 'CreateContainerConfigError') {
    return [
      {
        kind: 'config',
        // The kubelet says the same while its cache of the objects is not filled yet.
        lasting: !/timed out waiting|failed to sync|deadline exceeded/i.test(waiting.message),
        sentence: `${at} cannot be configured${quoted(waiting.message)}.`,
      },
    ];
  }
  const ended = endFault(at, container);
  if (ended !== null) return [ended];
  if (waiting !== null && /Error$/.test(waiting.reason)) {
    return [hint('container', `${at} cannot be started${reasonAndWords(waiting.reason, waiting.message)}.`)];
  }
  if (container.ready || (container.state?.terminated ?? null) !== null) return [];
  if ((container.state?.running ?? null) !== null) {
    return [
      container.init
        ? hint('notReady', `${at} runs before the others and has not come to its end.`)
        : hint('notReady', `${at} runs but is not ready: its probes do not pass yet.`),
    ];
  }
  return waiting === null ? [] : [hint('waiting', `${at} waits${reasonAndWords(waiting.reason, waiting.message)}.`)];
}

const PULL_REASONS: ReadonlySet<string> = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'InvalidImageName',
  'ErrImageNeverPull',
  'ImageInspectError',
  'RegistryUnavailable',
  'SignatureValidationFailed',
]);

/** Of the pull failures, those that are about the image's name or the cluster's settings. */
const LASTING_PULLS: ReadonlySet<string> = new Set([
  'InvalidImageName',
  'ErrImageNeverPull',
  'SignatureValidationFailed',
]);

function pullFault(at: string, pod: PodView, container: ContainerState, { pulls }: PodLook): Finding {
  const { reason = '', message = '' } = container.state?.waiting ?? {};
  const past = pulls.get(`${pod.name}/${container.name}`);
  // In back-off, older kubelets no longer say why.
  const words = reason === 'ImagePullBackOff' && past !== undefined && past.words !== '' ? past.words : message;
  const lasting =
    LASTING_PULLS.has(reason) || judgePull(words) === 'lasting' || (past?.backOffs ?? 0) >= PULL_BACK_OFFS;
  return { kind: 'imagePull', lasting, sentence: `${at}: its image cannot be pulled${reasonAndWords(reason, words)}.` };
}

/** A container that ended although it should run. One that runs and is ready again has got over it. */
function endFault(at: string, container: ContainerState): Finding | null {
  const { ready, restartCount } = container;
  const waiting = container.state?.waiting ?? null;
  const end = container.state?.terminated ?? container.lastState?.terminated ?? null;
  const backOff = waiting?.reason === 'CrashLoopBackOff';
  if (ready || (end === null && !backOff)) return null;
  // An init container that has done its work ended as it should.
  if ((container.state?.terminated ?? null)?.exitCode === 0 && restartCount === 0) return null;
  const lasting = backOff || restartCount >= CRASH_RESTARTS;
  const restarts = `${restartCount} ${restartCount === 1 ? 'restart' : 'restarts'}`;
  if (end?.reason === 'OOMKilled') {
    return {
      kind: 'outOfMemory',
      lasting,
      sentence: `${at} was killed for using more memory than its limit (OOMKilled, exit code ${end.exitCode}, ${restarts})${quoted(end.message)}.`,
    };
  }
  const how =
    end === null ? restarts : `exit code ${end.exitCode}${end.reason === '' ? '' : `, ${end.reason}`}, ${restarts}`;
  const words = quoted(end?.message === undefined || end.message === '' ? (waiting?.message ?? '') : end.message);
  return lasting
    ? { kind: 'crashLoop', lasting, sentence: `${at} crashes again and again (${how})${words}.` }
    : hint('restarted', `${at} ended once (${how})${words}.`);
}

/** The controllers' word that the API server does not take what they make. */
function refusals(look: PodLook, graces: FaultGraces): readonly Finding[] {
  const { deployment, replicaSet } = look;
  const at = `${deployment.namespace}/${deployment.name}`;
  const faults: Finding[] = [];
  const notMade = deployment.conditions.find(
    ({ type, status, reason }) => type === 'Progressing' && status === 'False' && /CreateError$/.test(reason),
  );
  if (notMade !== undefined) {
    faults.push({
      kind: 'refused',
      lasting: refusalLasts(notMade.message, look.now - Date.parse(notMade.lastUpdateTime), graces),
      sentence: `Deployment ${at} cannot make its ReplicaSet${quoted(notMade.message)}.`,
    });
  }
  const failing = replicaSet?.conditions.find(({ type, status }) => type === 'ReplicaFailure' && status === 'True');
  if (failing !== undefined && failing.reason === 'FailedCreate') {
    faults.push({
      kind: 'refused',
      lasting: refusalLasts(failing.message, Math.min(ageMs(failing, look.now), sinceProgressMs(look)), graces),
      sentence: `Deployment ${at} cannot make its pods${quoted(failing.message)}.`,
    });
  }
  return faults;
}

/**
 * Since the Deployment's controller last saw a pod more that is new or ready, or one less that is old: the ReplicaSet says
 * the same of its quota all the while. Endless where it does not say, without a progress deadline.
 */
function sinceProgressMs({ deployment, now }: PodLook): number {
  const progressing = deployment.conditions.find(({ type, status }) => type === 'Progressing' && status === 'True');
  const at = Date.parse(progressing?.lastUpdateTime ?? '');
  return Number.isNaN(at) ? Number.POSITIVE_INFINITY : now - at;
}

function refusalLasts(message: string, ageMs: number, graces: FaultGraces): boolean {
  if (/denied the request/.test(message)) return true;
  // Names are quoted in between, and a pod may well be called `timeout`.
  const words = message.replace(/"[^"]*"/g, ' ');
  // An admission webhook that is away, an API server in trouble: not about the pods.
  if (
    /failed (calling|to call) webhook|time(d )?-?out|deadline exceeded|connection refused|internal error/i.test(words)
  )
    return false;
  // An API server that has just begun: it has not read yet who may make pods, nor what quotas allow.
  if (/is forbidden: (User\s+cannot |not yet ready to handle request|status unknown for quota)/.test(words))
    return false;
  if (/exceeded quota/i.test(words)) return ageMs >= graces.refusedMs;
  return /forbidden|is invalid|not found|violates/i.test(words);
}

/** Milliseconds since a condition came to be; 0 where it does not say. */
function ageMs(condition: ObjectCondition, now: number): number {
  const since = Date.parse(condition.lastTransitionTime);
  return Number.isNaN(since) ? 0 : now - since;
}

function hint(kind: PodFaultKind, sentence: string): Finding {
  return { kind, lasting: false, sentence };
}

function reasonAndWords(reason: string, message: string): string {
  return `${reason === '' ? '' : ` (${reason})`}${quoted(message)}`;
}

function quoted(message: string): string {
  const words = shorten(message);
  return words === '' ? '' : `: ${words}`;
}
