import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../errors';
import { compareFences, fenceOn } from '../../traffic/fence';
import { newestFence } from '../../traffic/held-object';
import { TargetFailure } from '../target';
import type { Target, WriteFence } from '../target';
import { isMissing, isNamespaceMissing } from './absence';
import { targetNoteOn } from './target-note';
import type { Cluster } from './cluster';
import { asTargetFailure } from './failures';
import { createKubernetesTarget } from './kubernetes-target';
import { readDeployment } from './deployment-view';
import { findLeftRelease } from './left-release';
import type { LeftRelease } from './left-release';
import type { KubernetesObject } from './objects';
import { tellWrites } from './told-writes';
import type { ToldWrite } from './told-writes';
import { SERVICE_LABEL } from './tracks';
import { isPromoted } from './workloads';

/** A write that the API server took. */
export interface DirectWrite {
  /** What was written: `patch HTTPRoute pay/shop: spec.rules.0.backendRefs.1.weight = 0`. */
  readonly sentence: string;
  readonly verb: ToldWrite['verb'];
  /** `HTTPRoute pay/shop`. */
  readonly object: string;
  readonly changes: readonly string[];
  /** From the beginning of the write to its answer, tries included. */
  readonly ms: number;
  /** From the beginning of the roll back to the end of this write. */
  readonly atMs: number;
}

/** A step of the roll back, when it is over. */
export interface DirectStep {
  /** What has come of it, a sentence. */
  readonly sentence: string;
  /** Where none: there was nothing to do. */
  readonly writes: number;
  /** From its beginning to its end, waits included. */
  readonly ms: number;
  /** From the beginning of the roll back to the end of this step. */
  readonly atMs: number;
}

export interface DirectRollBack {
  /** Null where the new version's Deployment was gone, which alone says what it was. */
  readonly version: string | null;
  readonly release: string;
  readonly steps: readonly DirectStep[];
  readonly writes: readonly DirectWrite[];
  /** From the beginning to the answer of the write that set the weight to 0; where it was 0, until that was known. */
  readonly weightZeroMs: number;
  /** From the beginning to the end. */
  readonly totalMs: number;
}

/** What is told while it goes on: each step when it begins and when it is over, and between that its writes and waits. */
export type DirectNews =
  | { readonly kind: 'step'; readonly sentence: string }
  | { readonly kind: 'write'; readonly write: DirectWrite }
  /** `between`: of no step. */
  | { readonly kind: 'wait'; readonly sentence: string; readonly atMs: number; readonly between: boolean }
  | { readonly kind: 'done'; readonly step: DirectStep };

const STEPS = {
  zero: 'Setting the weight to 0',
  restore: 'Giving stable its old template back',
  remove: 'Taking the new version away',
} as const;

/** Old pods that are waited for longer do not come. */
const OLD_PODS_MS = 120_000;
const POLL_MS = 500;

/**
 * Takes a service back on the cluster alone, for when Temporal is away: the weight to 0 first, then the new version's
 * pods. Where a promotion was half done, all traffic goes to the proven canary first, then stable has its old template
 * back, and then the weight is 0. Of a blue-green release also after its promotion, while the old version is kept. What
 * the release looked like is read from its objects: from the note on the new version's Deployment, and where that is
 * gone, from what is left on who splits the traffic. The writes carry the release's fence with a later epoch: whatever
 * the release still sends is refused, and when it comes back it finds that and ends.
 *
 * @throws TargetFailure `invalidTarget` when there is nothing to take back.
 */
export async function rollBackDirectly(
  connected: Cluster,
  service: { readonly namespace: string; readonly name: string },
  options: { readonly signal: AbortSignal; readonly onNews?: (news: DirectNews) => void },
): Promise<DirectRollBack> {
  const { signal } = options;
  const course = new Course(options.onNews);
  const cluster = tellWrites(connected, {
    onWrite: (write) => course.wrote(write),
    onWait: (sentence) => course.waits(sentence),
  });
  const { plans, version, fence: held, promoted } = await findRelease(cluster, service, signal);
  const { release } = held;
  const [first, ...others] = plans.map((plan) => ({
    plan,
    target: createKubernetesTarget(plan, { cluster, resolve: (image) => Promise.resolve(image) }),
  }));
  if (first === undefined) throw nothingThere(service, []);
  const all = [first, ...others];
  // Later than the release's own, and no later than that: whose clock is right does not matter then, and the next
  // release, which begins later still, does not find it in its way.
  let epoch = held.epoch + 1;
  let step = 0;
  const next = (): Parameters<Target['removeCanary']>[0] => {
    step += 1;
    const fence: WriteFence = { release, epoch, step, attempt: 1 };
    return { version: version ?? 'The new version', artifact: null, fence, signal };
  };
  const overruling = (what: string, write: () => Promise<string>): Promise<void> =>
    course.step(what, async () => {
      try {
        return await write();
      } catch (error) {
        if (!(error instanceof TargetFailure) || error.kind !== 'fenceLost') throw error;
        // Somebody's hand has written in between, with a time of theirs; whoever gives this command comes after them.
        epoch = Math.max(epoch + 1, Date.now());
        return write();
      }
    });
  const zero = { weight: 0, previousWeight: 100, match: [], back: true };
  const toZero = async (): Promise<void> => {
    for (const { target } of all) {
      await overruling(STEPS.zero, () => target.setWeight({ ...next(), ...zero }));
    }
  };
  const restore = (): Promise<void> =>
    overruling(STEPS.restore, () => first.target.restoreStable({ ...next(), stableVersion: 'its version of before' }));
  // Stable's new pods may be the ones that fail, whatever their number says: they are not to get everything.
  if (promoted) await restore();
  if (promoted || first.plan.strategy === 'blueGreen') await untilThere(toZero, course, signal);
  else await restoreAround({ toZero, restore }, course, signal);
  const { drainMs } = first.plan;
  if (drainMs > 0) course.waits(`Waiting ${drainMs / 1000} s for the requests under way to end (drain).`);
  await delay(drainMs, undefined, { signal });
  for (const { target } of all) {
    await untilThere(() => course.step(STEPS.remove, () => target.removeCanary(next())), course, signal);
  }
  return { version, release, ...course.result() };
}

/** What is done, and when: it is told, and kept for the result. */
class Course {
  readonly #tell: (news: DirectNews) => void;
  readonly #began = performance.now();
  readonly #steps: DirectStep[] = [];
  readonly #writes: DirectWrite[] = [];
  #weightZeroMs = 0;
  /** The step that is under way, its failed tries included. */
  #current: { readonly what: string; readonly beganMs: number; readonly writes: DirectWrite[] } | null = null;
  /** The last one of which the beginning was told. */
  #told = '';
  /** What this step was said to wait for, without the numbers: those run down. */
  readonly #waited = new Set<string>();

  constructor(tell: (news: DirectNews) => void = () => undefined) {
    this.#tell = tell;
  }

  /** Runs a step, or tries again the one that has just failed. */
  async step(what: string, run: () => Promise<string>): Promise<void> {
    if (this.#told !== what) this.#tell({ kind: 'step', sentence: what });
    this.#told = what;
    if (this.#current?.what !== what) this.#current = { what, beganMs: this.#now(), writes: [] };
    const { beganMs, writes } = this.#current;
    const sentence = await run();
    const atMs = this.#now();
    const done = { sentence, writes: writes.length, ms: atMs - beganMs, atMs };
    this.#steps.push(done);
    if (what === STEPS.zero) this.#weightZeroMs = weightWrite(writes)?.atMs ?? atMs;
    this.#current = null;
    this.#waited.clear();
    this.#tell({ kind: 'done', step: done });
  }

  wrote({ verb, object, changes, ms }: ToldWrite): void {
    const what = `${verb} ${object}`;
    const sentence = changes.length === 0 ? what : `${what}: ${changes.join(', ')}`;
    const write = { sentence, verb, object, changes, ms, atMs: this.#now() };
    this.#writes.push(write);
    this.#current?.writes.push(write);
    this.#tell({ kind: 'write', write });
  }

  /** The same again is no news. */
  waits(sentence: string): void {
    const what = sentence.replace(/\d+/g, '');
    if (this.#waited.has(what)) return;
    this.#waited.add(what);
    this.#tell({ kind: 'wait', sentence, atMs: this.#now(), between: this.#current === null });
  }

  result(): Pick<DirectRollBack, 'steps' | 'writes' | 'weightZeroMs' | 'totalMs'> {
    return { steps: this.#steps, writes: this.#writes, weightZeroMs: this.#weightZeroMs, totalMs: this.#now() };
  }

  #now(): number {
    return performance.now() - this.#began;
  }
}

/** The last one that moved traffic: stable's Deployment is asked for its pods after that, unless they are what splits it. */
function weightWrite(writes: readonly DirectWrite[]): DirectWrite | undefined {
  return writes.findLast(({ object }) => !object.startsWith('Deployment ')) ?? writes.at(-1);
}

/** Stable first has its old template back where its pods are being made anew: they must be there before the traffic is. */
async function restoreAround(
  { toZero, restore }: { readonly toZero: () => Promise<void>; readonly restore: () => Promise<void> },
  course: Course,
  signal: AbortSignal,
): Promise<void> {
  try {
    await toZero();
    await restore();
  } catch (error) {
    // Of a promotion that somebody else has undone stable is not taken for what it was before it is restored.
    const isRefused = error instanceof TargetFailure && error.kind === 'invalidTarget';
    if (signal.aborted || (!isUnreachable(error) && !isRefused)) throw error;
    course.waits(`${messageOf(error)} It is tried again when stable has its old template.`);
    await restore();
    await untilThere(toZero, course, signal);
  }
}

/** For old pods that are made anew, or that somebody has taken away: they are waited for. */
async function untilThere(write: () => Promise<void>, course: Course, signal: AbortSignal): Promise<void> {
  const started = performance.now();
  for (;;) {
    try {
      return await write();
    } catch (error) {
      const leftMs = OLD_PODS_MS - (performance.now() - started);
      if (signal.aborted || !isUnreachable(error) || leftMs < 0) throw error;
      course.waits(`${messageOf(error)} It is tried again for up to ${Math.ceil(leftMs / 1000)} s.`);
    }
    await delay(POLL_MS, undefined, { signal });
  }
}

function isUnreachable(error: unknown): boolean {
  return error instanceof TargetFailure && error.kind === 'unreachable';
}

/** How a release was made, by what is there of it. */
interface FoundRelease extends LeftRelease {
  readonly version: string | null;
  /** Stable runs what a promotion made of it, and the new version has pods that can carry the traffic meanwhile. */
  readonly promoted: boolean;
}

async function findRelease(
  cluster: Cluster,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<FoundRelease> {
  const deployments = await asTargetFailure(() =>
    cluster.list({ apiVersion: 'apps/v1', kind: 'Deployment', namespace }, { signal }),
  );
  const held = deployments.flatMap((object) => {
    const note = targetNoteOn(object);
    const fence = fenceOn(object);
    return note?.plan.serviceName === name && fence !== null ? [{ object, note, fence }] : [];
  });
  // A release that was ended from outside may have left its note on the other colour.
  const newest = newestFence(held.map(({ object }) => object));
  for (const { object, note, fence } of held) {
    if (newest === null || compareFences(fence, newest) !== 0) continue;
    const { plan, version } = note;
    const stable = deployments.filter(({ metadata }) => isStableOf(plan.deployment, metadata.name));
    const promoted = stable.some((one) => isPromoted(one, fence.release)) && hasPods(object);
    return { plans: [plan], version, fence, promoted };
  }
  const { left, unseen } = await asTargetFailure(() =>
    findLeftRelease(cluster, { namespace, name, deployments }, signal),
  );
  if (left === null) {
    throw (
      (await notThere(cluster, { namespace, name, deployments }, signal)) ?? nothingThere({ namespace, name }, unseen)
    );
  }
  return { ...left, version: null, promoted: false };
}

function isStableOf(deployment: string, name: string): boolean {
  return name === deployment || name === `${deployment}-stable`;
}

function hasPods(object: KubernetesObject): boolean {
  return readDeployment(object).availableReplicas > 0;
}

/** A name that means nothing here is most likely a slip; null where there is such a service, or it cannot be told. */
async function notThere(
  cluster: Cluster,
  { namespace, name, deployments }: { namespace: string; name: string; deployments: readonly KubernetesObject[] },
  signal: AbortSignal,
): Promise<TargetFailure | null> {
  if (await isNamespaceMissing(cluster, namespace, signal)) {
    return new TargetFailure(
      'invalidTarget',
      `There is no namespace ${namespace} in this cluster, so there is nothing to take back; write NAMESPACE/SERVICE, and look at the kubeconfig's context.`,
    );
  }
  const isKnown = deployments.some(
    ({ metadata }) => isStableOf(name, metadata.name) || metadata.labels?.[SERVICE_LABEL] === name,
  );
  if (isKnown || !(await isMissing(cluster, { apiVersion: 'v1', kind: 'Service', namespace, name }, signal)))
    return null;
  return new TargetFailure(
    'invalidTarget',
    `There is no service ${name} in namespace ${namespace}: no Service and no Deployment has that name, and none the label ${SERVICE_LABEL}=${name}, so there is nothing to take back; write NAMESPACE/SERVICE for one of another namespace.`,
  );
}

function nothingThere(
  { namespace, name }: { readonly namespace: string; readonly name: string },
  unseen: readonly string[],
): TargetFailure {
  const but = unseen.length === 0 ? '' : ` (but your rights do not let you list ${unseen.join(', ')})`;
  return new TargetFailure(
    'invalidTarget',
    `No Deployment in namespace ${namespace} has the new version of a release of ${name}, and none of its traffic is held by one${but}, so there is nothing to take back: it is back already, was promoted for good, or was never released; kubectl -n ${namespace} get deployments -L sluice.dev/service shows what there is.`,
  );
}
