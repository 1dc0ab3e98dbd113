import type { KubernetesTargetPlan, SmokeTestStep } from '../../../spec/plan-types';
import { describeMissed, splitReplicas } from '../../../traffic/replica-ratio';
import { TrafficFailure } from '../../../traffic/traffic-router';
import type { Applied, TrafficDocument, TrafficView } from '../../../traffic/traffic-router';
import { TargetFailure } from '../../target';
import type {
  PromoteRequest,
  Reassertion,
  Target,
  TargetLook,
  TargetView,
  TargetWrite,
  WeightWrite,
} from '../../target';
import type { Cluster } from '../cluster';
import { collectCopies, refuseMissingConfig, takeSnapshot } from '../config-snapshot';
import type { ConfigOwner } from '../config-snapshot';
import { readDeployment } from '../deployment-view';
import type { DeploymentView } from '../deployment-view';
import { asTargetFailure } from '../failures';
import {
  admittedAgain,
  editOfPods,
  givenPods,
  imageIn,
  imageOf,
  noting,
  notingOwn,
  rollingOut,
  settingsDigest,
  toBeGivenAgain,
} from '../given-pods';
import type { PodsEdit } from '../given-pods';
import { describeMadeAgain, keepNote, keptNote, keptTemplate } from '../kept-note';
import type { KeptNote } from '../kept-note';
import type { KubernetesObject } from '../objects';
import { copiesIn, withCopies, withOriginals } from '../pod-config';
import type { Copies, PodTemplate } from '../pod-config';
import { readinessOf, readyPods } from '../readiness';
import { rememberReads } from '../remembered-reads';
import { smokeTestThroughProxy } from '../proxied-smoke-test';
import {
  confirm,
  describeDoubt,
  describeGone,
  describeMet,
  ensureInForce,
  goesOn,
  shiftTraffic,
} from '../shift-traffic';
import { targetNoteOn } from '../target-note';
import {
  adopted,
  CONFIRM_BACK_MS,
  CONFIRM_MS,
  differs,
  failureInTheWayDown,
  failureOfPods,
  isMore,
  keepUntilFollowed,
  asItRuns,
  letGatewaysHear,
  noteAdmitted,
  PODS_MS,
  prepareRelease,
  refuseLate,
  refuseOtherPods,
  refusePaused,
  refuseUntested,
  refuseUntilFollowed,
  refuseWithoutPods,
  refuseWithoutStable,
} from '../track-checks';
import type { KubernetesTargetDeps } from '../track-checks';
import { canarySelector, trackDeployment, trackService } from '../track-manifest';
import { replicasFor, selects } from '../tracks';
import type { Labels } from '../tracks';
import { isReadyNow, waitUntilReady } from '../wait-ready';
import {
  deploymentRef,
  describeRemoval,
  editOfService,
  ensureUnlessLate,
  grow,
  isBeingPromoted,
  isMade,
  isPromoted,
  isRestored,
  layDown,
  letGo,
  otherThanProven,
  refuseOtherSelector,
  removeMade,
  replaceImage,
  resize,
  resume,
  restoreImages,
  serviceRef,
  undoneBySomebody,
} from '../workloads';
import type { KeptPods, Removal } from '../workloads';
import { Carriers, describeLeft, refuseWithoutCanaryPods } from './carriers';
import { isAnothers, notedAnew, notedStable, sizeOf } from './noted-stable';
import { sharesByReplicas } from './settings';
import { lookAtTracks, totalOf } from './tracks-view';
import type { TracksView } from './tracks-view';
import { againWhileUndone, describeLost, refuseUndone, Undone } from './undone-promotion';
import type { PromotionRound } from './undone-promotion';

/** Of a paused stable Deployment, asked on the way forward alone: who freezes everything is not to stand in the way back. */
const UNPROMOTED = 'could not be promoted';

/** As many as NGINX and others send over a kept connection before they open another. */
const REQUESTS_PER_CONNECTION = 1_000;

/**
 * A canary beside an ordinary Deployment. What traffic goes where is the traffic router's; what this adds is the order:
 * pods before traffic on the way forward, traffic before pods on the way back.
 */
export function createCanaryTarget(plan: KubernetesTargetPlan, deps: KubernetesTargetDeps): Target {
  return rememberReads(deps.cluster, (cluster) => new CanaryTarget(plan, { ...deps, cluster }));
}

/** What one look has found. */
interface Seen {
  readonly tracks: TracksView;
  readonly routing: TrafficView;
  readonly foreignEdits: string[];
}

class CanaryTarget implements Target {
  readonly #plan: KubernetesTargetPlan;
  readonly #deps: KubernetesTargetDeps;
  readonly #cluster: Cluster;
  readonly #carriers: Carriers;

  constructor(plan: KubernetesTargetPlan, deps: KubernetesTargetDeps) {
    this.#plan = plan;
    this.#deps = deps;
    this.#cluster = deps.cluster;
    this.#carriers = new Carriers(plan, deps.cluster);
  }

  observe({ version, match = [], weights = [], signal }: TargetLook): Promise<TargetView> {
    return asTargetFailure(async () => {
      const artifact = await prepareRelease(this.#plan, this.#deps, { version, signal });
      const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal });
      refusePaused(tracks.stable, UNPROMOTED);
      const none = isNew(tracks, this.#plan);
      const routing = await tracks.traffic.observe({ signal, planned: match });
      refuseWithoutStable(routing, this.#plan);
      if (this.#copiesConfig()) {
        await refuseMissingConfig(this.#cluster, this.#plan.namespace, originalsOf(tracks), signal);
      }
      const { stable, canary, canaryObject, container, labels } = tracks;
      // Found here, it is said before anything is changed.
      if (canaryObject !== null) refuseOtherSelector(canaryObject, canarySelector(stable, labels));
      const carried = await this.#carriers.alone(tracks, signal);
      const serving = canary !== null && canary.replicas > 0 ? imageIn(canary, container.name) : null;
      return {
        stableVersion: none ? null : container.image,
        canaryVersion: serving,
        weight: routing.weight ?? 0,
        // With copies of its own configuration the same image may be another version.
        artifact:
          this.#plan.config === 'snapshot'
            ? artifact
            : asItRuns(artifact, carried === null ? [container.image] : [serving, container.image]),
        ...(carried === null ? {} : { onlyCanary: carried.why }),
        ...this.#reach(tracks, weights),
      };
    });
  }

  deploy(write: TargetWrite & { timeoutMs: number }): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence } = write;
      let tracks = await lookAtTracks(this.#cluster, this.#plan, { signal });
      refusePaused(tracks.stable, UNPROMOTED);
      const carried = await this.#carriers.alone(tracks, signal);
      if (carried !== null && !this.#runsAlready(tracks, write)) throw new TargetFailure('unreachable', carried.why);
      await this.#ensureService(tracks, write);
      // Before the canary's template changes: what an older release left there gets no traffic from here on. It also
      // puts this release's fence onto the routing, so that a late attempt of another one is refused there.
      await tracks.traffic.apply({ document: carried?.document ?? { weight: 0, match: [] }, fence, signal });
      if (sharesByReplicas(this.#plan)) tracks = await this.#withoutShare(tracks, write);
      const replicas = sharesByReplicas(this.#plan) ? 0 : 1;
      await this.#makeCanary(tracks, write, { replicas, carries: carried !== null });
      if (replicas === 0)
        return `${write.version} is declared as ${tracks.canaryName}; its pods come with its first share.`;
      const { namespace } = this.#plan;
      const ready = await waitUntilReady(
        this.#cluster,
        { namespace, name: tracks.canaryName },
        { needed: replicas, complete: false, timeoutMs: write.timeoutMs, signal, justChanged: tracks.canary === null },
      );
      await letGatewaysHear(this.#deps, this.#plan.traffic, signal);
      const runs = `${write.version} runs as Deployment ${namespace}/${ready.name} with ${readyPods(ready)}`;
      if (carried === null) return `${runs}, at weight 0.`;
      return `${runs}, and keeps the ${carried.document.weight} % of the traffic that it has, because Deployment ${namespace}/${tracks.stable.name} lacks the pods for it.`;
    });
  }

  smokeTest(request: { test: SmokeTestStep; release: string; version: string; signal: AbortSignal }): Promise<string> {
    const { test, version, signal } = request;
    const { namespace, service, deployment, port } = this.#plan;
    const canary = { service: `${service}-canary`, deployment: `${deployment}-canary` };
    const asked = { namespace, ...canary, port, test, version, signal };
    return asTargetFailure(() => smokeTestThroughProxy(this.#cluster, asked));
  }

  setWeight(write: WeightWrite & { previousWeight: number; back?: boolean }): Promise<string> {
    return asTargetFailure(async () => {
      const { weight, previousWeight, signal } = write;
      const document = documentOf(write);
      const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal });
      if (weight === 0 && document.match.length === 0) return this.#takeBack(tracks, write);
      await this.#putServiceRight(tracks, write);
      const edits = await this.#putPodsRight(tracks, write);
      if (!sharesByReplicas(this.#plan)) edits.push(...(await this.#ensurePods(tracks, write)));
      // What stable is to have must be there, too: above all when a promotion has just made its pods anew.
      if (weight < previousWeight) {
        refuseUndone(tracks, write);
        refuseWithoutPods(tracks.stable, 100 - weight);
      }
      // What this release has left where it was, because it could be nowhere else, it does not lower either.
      const carried = await this.#carriers.alone(tracks, signal);
      const from = Math.max(previousWeight, carried?.document.weight ?? 0);
      if (carried !== null && from > previousWeight && weight < from)
        throw new TargetFailure('unreachable', carried.why);
      await this.#carriers.refuseUntilFollowed(tracks, write);
      const notes = await shiftTraffic(tracks.traffic, {
        document,
        previous: { ...document, weight: from },
        fence: write.fence,
        signal,
        timeoutMs: sharesByReplicas(this.#plan) ? PODS_MS : CONFIRM_MS,
      });
      return [`${describeShare(this.#plan)} ${weight} %, and it is in force.`, ...notes, ...edits].join(' ');
    });
  }

  reassert(write: WeightWrite): Promise<Reassertion> {
    return asTargetFailure(async () => {
      const { signal, fence, weight } = write;
      const document = documentOf(write);
      const { tracks, routing, foreignEdits } = await this.#lookForEdits(write);
      refuseLate(routing, write, this.#plan);
      let guardTripped: string | null = null;
      // While it is being promoted it is the promotion's, whose write is later than a look's.
      const isPromoted = isBeingPromoted(tracks.stableObject, fence.release);
      if (!isPromoted && this.#carriers.isScaledDown(tracks, write)) await this.#giveStableItsPods(tracks, write);
      foreignEdits.push(...(await this.#putServiceRight(tracks, write)));
      if (tracks.canary?.paused === true && this.#editOfCanary(tracks, write) === null) {
        await this.#resume(tracks, write);
      }
      if (sharesByReplicas(this.#plan)) await this.#keepVersion(tracks, write);
      else guardTripped = await this.#keepPods(tracks, write);
      // At 100 the promotion gives it the proven version again; below, users are at stable by now.
      const undone = undoneBySomebody(tracks.stableObject, fence.release);
      if (undone !== null && weight < 100) guardTripped ??= describeLost(tracks.stable, undone);
      const isEdited = routing.foreignEdits.length > 0 || this.#differs(tracks, routing, document);
      const notYet = isEdited ? this.#carriers.withoutPods(tracks, { from: routing.weight ?? 0, to: weight }) : null;
      if (notYet !== null) {
        foreignEdits.push(notYet);
      } else if (guardTripped === null && isEdited) {
        await tracks.traffic.apply({ document, fence, signal });
        const doubt = await describeDoubt(tracks.traffic, { document, signal });
        if (doubt !== null || foreignEdits.length === 0) foreignEdits.push(doubt ?? describePutBack(routing, weight));
      }
      const standing = this.#standingEdits(tracks, write);
      return { foreignEdits, standing, guardTripped, unreachable: [], ...this.#dealing(tracks, weight) };
    });
  }

  promote(write: TargetWrite & PromoteRequest): Promise<string> {
    const once = this.#plan.onForeignEdit === 'rollback';
    return asTargetFailure(() =>
      againWhileUndone(write.timeoutMs, { once }, (round) => this.#makeStable(write, round)),
    );
  }

  restoreStable(write: TargetWrite & { stableVersion: string }): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence, stableVersion } = write;
      const { namespace } = this.#plan;
      const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal });
      const moved = await this.#leaveToTheCanary(tracks, write);
      const ref = deploymentRef(namespace, tracks.stable.name);
      const asked = await restoreImages(this.#cluster, ref, { fence, signal });
      if (asked === null)
        return `Deployment ${namespace}/${tracks.stable.name} still is as it was, with ${stableVersion}.`;
      // While the canary still has the traffic there is time for those that it took away.
      // Once: who scales it down after that knows what there is room for.
      const grown = isRestored(tracks.stableObject, fence.release) ? null : await this.#growStable(tracks, write);
      const needed = grown ?? asked.replicas;
      if (notedStable(tracks, write)?.carried === true)
        return `${moved}Deployment ${namespace}/${tracks.stable.name} is to run ${stableVersion} again; it lacked pods when this release began, and they are not waited for.`;
      const ready = await waitUntilReady(
        this.#cluster,
        { namespace, name: asked.name },
        { needed, complete: true, mayShrink: true, timeoutMs: PODS_MS, signal },
      );
      if (asked.replicas === 0)
        return `${moved}Deployment ${namespace}/${ready.name} has no pods again, as before the release.`;
      return `${moved}Deployment ${namespace}/${ready.name} runs ${stableVersion} again, with ${readyPods(ready)}.`;
    });
  }

  removeCanary(write: TargetWrite): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence, version } = write;
      const { namespace } = this.#plan;
      const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal });
      const { traffic, canaryName, canaryService } = tracks;
      const none: TrafficDocument = { weight: 0, match: [] };
      const carried = await this.#carriers.alone(tracks, signal);
      if (carried !== null) {
        if (!isAnothers(tracks, write)) throw new TargetFailure('unreachable', carried.why);
        // As it was before this release, whose late writes are refused from here on.
        await traffic.apply({ document: carried.document, fence, signal });
        return describeLeft(carried);
      }
      // Always written, whatever is there: what the release still has under way is older than this, and is refused.
      const applied = await traffic.apply({ document: none, fence, signal, mayBeGone: true });
      // No pods are taken from a track that may still get traffic.
      const said = await traffic.verify({ document: none, signal, mayBeGone: true });
      if (said.kind !== 'confirmed' && (await this.#isReachable(tracks, signal))) {
        const again = async (): Promise<void> => {
          await traffic.apply({ document: none, fence, signal, mayBeGone: true });
        };
        const { onWait, onWaited } = this.#cluster;
        const back = { document: none, signal, timeoutMs: CONFIRM_BACK_MS, mayBeGone: true, onWait, onWaited };
        const how = { ...back, ...(goesOn(traffic) ? { again } : {}) };
        const why = await confirm(traffic, how);
        if (why !== null) throw new TargetFailure('unreachable', `The canary may still get traffic: ${why}`);
      }
      const serves = tracks.canary !== null && !sharesByReplicas(this.#plan);
      if (serves) keepUntilFollowed(this.#cluster, { namespace, name: canaryName });
      await traffic.release({ fence, signal, mayBeGone: true });
      const canary = deploymentRef(namespace, canaryName);
      const removed = await removeMade(this.#cluster, canary, write);
      let left = tracks.canaryObject === null ? 'is gone' : 'is without pods';
      if (removed !== null) left = describeRemoval(removed);
      else if (tracks.canaryObject !== null && !isMade(tracks.canaryObject)) {
        const kept = applied.gone.length > 0 ? null : await this.#keptPods(tracks, signal);
        await layDown(this.#cluster, canary, kept, write);
        await letGo(this.#cluster, canary, write);
        if (kept !== null) left = describeKept(kept, this.#plan);
      }
      const service = await this.#removeService(canaryService, write);
      if (service !== null && service.finalizers.length > 0)
        left += `; Service ${namespace}/${canaryService} ${describeRemoval(service)}`;
      await letGo(this.#cluster, deploymentRef(namespace, tracks.stable.name), write);
      if (this.#copiesConfig()) await this.#collect(tracks, write);
      return `${version} is no longer beside stable: Deployment ${namespace}/${canaryName} ${left}.${describeGone(applied)}`;
    });
  }

  close(): void {
    // The cluster's connections are the worker's, and shared.
  }

  /**
   * One round of a promotion. Of what somebody undoes the next one is a whole one, with all of its questions: the pods that
   * come up by the undoing are stable's old ones.
   *
   * @throws Undone as soon as stable has another version than it was given.
   */
  async #makeStable(write: TargetWrite & PromoteRequest, { leftMs, undone }: PromotionRound): Promise<string> {
    const { signal, smokeTest, fence } = write;
    const { namespace } = this.#plan;
    const fresh = undone.length > 0;
    const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal, fresh });
    refusePaused(tracks.stable, UNPROMOTED);
    const ref = deploymentRef(namespace, tracks.stable.name);
    // The old pods go as the new ones come: until they are all there, only the canary can carry everything.
    const routing = await tracks.traffic.observe({ signal, fresh });
    refuseLate(routing, write, this.#plan);
    const document = { weight: 100, match: routing.match };
    // Where pods are the share, those that an attempt before this one gave stable have a part of it already.
    const begun = sharesByReplicas(this.#plan) && isBeingPromoted(tracks.stableObject, fence.release);
    const sure = { document, signal, fresh: true, timeoutMs: CONFIRM_MS };
    const why = begun ? null : await confirm(tracks.traffic, sure);
    if (why !== null) throw new TargetFailure('unreachable', `The canary does not have all of the traffic: ${why}`);
    refuseWithoutCanaryPods(tracks, sizeOf(tracks, write));
    if (!sharesByReplicas(this.#plan) && !isBeingPromoted(tracks.stableObject, fence.release)) {
      keepUntilFollowed(this.#cluster, tracks.stable);
    }
    // Since an attempt before this one, whose worker is gone.
    const before = fresh ? null : undoneBySomebody(tracks.stableObject, fence.release);
    if (before !== null) undone.push(before);
    const change = {
      container: tracks.container.name,
      image: imageOf(write),
      copies: await this.#provenCopies(tracks, write),
      firstReplicas: Math.max(1, tracks.canary?.replicas ?? 1),
      hadNone: !sharesByReplicas(this.#plan),
    };
    const { asked, proven } = await replaceImage(this.#cluster, ref, change, write);
    const ready = await waitUntilReady(
      this.#cluster,
      { namespace, name: asked.name },
      {
        needed: asked.replicas,
        complete: true,
        mayShrink: true,
        timeoutMs: leftMs,
        signal,
        justChanged: asked.observedGeneration < asked.generation,
        refuse: (view) => {
          const clause = otherThanProven(view, proven);
          if (clause !== null) throw new Undone(view, clause);
        },
      },
    );
    const tested = smokeTest === null ? '' : ` ${await this.#testStable(tracks, write, smokeTest)}`;
    return `Deployment ${namespace}/${ready.name} runs ${write.version} with ${readyPods(ready)}; the canary carries the traffic.${tested}`;
  }

  /** Where shares follow the number of pods, a weight is in force when the pods are the nearest that there can be to it. */
  #differs({ stable, canary }: TracksView, routing: TrafficView, document: TrafficDocument): boolean {
    if (!sharesByReplicas(this.#plan)) return differs(routing, document);
    const { share } = splitReplicas(document.weight, totalOf(stable, canary));
    return differs(routing, { ...document, weight: Math.round(share) });
  }

  /** Where shares follow the number of pods, by connections: what that makes of a weight. */
  #dealing({ stable, canary }: TracksView, weight: number): Pick<Reassertion, 'dealing'> {
    if (!sharesByReplicas(this.#plan)) return {};
    const { share } = splitReplicas(weight, totalOf(stable, canary));
    return { dealing: { share, perDecision: REQUESTS_PER_CONNECTION } };
  }

  #reach({ stable, canary, traffic }: TracksView, weights: readonly number[]): Pick<TargetView, 'reach' | 'missed'> {
    const { abilities } = traffic;
    if (abilities.weights === 'percent') return {};
    const missed = sharesByReplicas(this.#plan) ? describeMissed(weights, totalOf(stable, canary)) : null;
    return { reach: abilities.sentence, ...(missed === null ? {} : { missed }) };
  }

  #copiesConfig(): boolean {
    return this.#plan.config === 'snapshot';
  }

  #configOwner(): ConfigOwner {
    return { namespace: this.#plan.namespace, service: this.#plan.serviceName };
  }

  /** The release's copies of what the pods' template names; null where the originals are used. */
  async #copies(tracks: TracksView, write: TargetWrite): Promise<Copies | null> {
    if (!this.#copiesConfig()) return null;
    return takeSnapshot(this.#cluster, this.#configOwner(), originalsOf(tracks), write);
  }

  /** What the canary runs with is what stable gets. */
  async #provenCopies(tracks: TracksView, write: TargetWrite): Promise<Copies | null> {
    const copies = await this.#copies(tracks, write);
    if (copies === null || tracks.canary === null) return copies;
    const { template } = givenPods(tracks.canaryObject, tracks.container.name, write);
    return { ...copies, ...copiesIn(template ?? tracks.canary.template) };
  }

  /** Removes the copies that neither track names now. */
  async #collect({ stable, canaryName }: TracksView, write: TargetWrite): Promise<void> {
    const { namespace } = this.#plan;
    const found = await Promise.all(
      [stable.name, canaryName].map((name) =>
        this.#cluster.find(deploymentRef(namespace, name), { signal: write.signal, fresh: true }),
      ),
    );
    const templates = found.flatMap((object) => (object === null ? [] : [readDeployment(object).template]));
    await collectCopies(this.#cluster, this.#configOwner(), templates, write);
  }

  /**
   * False when the Service by which the canary would get its traffic is not there: not made yet, or removed by an attempt
   * before this one. A Gateway's controller calls a route that names it unresolved, and would never confirm it.
   */
  async #isReachable({ canaryService: name }: TracksView, signal: AbortSignal): Promise<boolean> {
    const { namespace, traffic } = this.#plan;
    if (traffic.kind === 'replicas' || traffic.kind === 'serviceSelector') return true;
    return (await this.#cluster.find(serviceRef(namespace, name), { signal, asked: true })) !== null;
  }

  /**
   * All traffic on stable: the write that a roll back is about. Asked before it: is there anybody at stable? At the end of a
   * promotion, and where a person asks for it, it is said only once it is so.
   */
  async #takeBack(tracks: TracksView, write: WeightWrite & { back?: boolean }): Promise<string> {
    const { fence, signal } = write;
    const carried = await this.#carriers.fromBefore(tracks, write);
    if (carried !== null) {
      await tracks.traffic.apply({ document: carried.document, fence, signal });
      return describeLeft(carried);
    }
    // Whoever is sent to a canary that is gone is sent to nobody: stable is no worse, whatever it has.
    if (tracks.canary !== null) await this.#refuseWithoutStablePods(tracks, write);
    const document: TrafficDocument = { weight: 0, match: [] };
    const put = (): Promise<Applied> => tracks.traffic.apply({ document, fence, signal, mayBeGone: true });
    const applied = await put();
    const pods = await this.#growStable(tracks, write);
    const asked =
      pods === null
        ? ''
        : ` Deployment ${tracks.stable.namespace}/${tracks.stable.name} is to have ${pods} pods again; it had ${tracks.stable.replicas}.`;
    // Where pods are the share, what is still to come is no news on the way back.
    const met = goesOn(tracks.traffic) ? describeGone(applied) : describeMet(applied);
    const share = describeShare(this.#plan);
    if (write.back === true) {
      return `${share} set to 0 %, and is read back before the canary's pods are taken away.${asked}${met}`;
    }
    const again = async (): Promise<void> => {
      await put();
    };
    const { onWait, onWaited } = this.#cluster;
    await ensureInForce(tracks.traffic, {
      document,
      signal,
      mayBeGone: true,
      onWait,
      onWaited,
      ...(goesOn(tracks.traffic) ? { again, timeoutMs: PODS_MS } : { timeoutMs: CONFIRM_MS }),
    });
    return `${share} 0 %, and it is in force.${asked}${met}`;
  }

  /**
   * An autoscaler, or a hand, takes pods away from a stable without traffic; who gets it all back is asked to have as many
   * as at the beginning, and an autoscaler knows better soon. Null where it has them.
   */
  async #growStable(tracks: TracksView, write: TargetWrite): Promise<number | null> {
    const { stable } = tracks;
    const { replicas } = notedStable(tracks, write) ?? { replicas: 0 };
    if (sharesByReplicas(this.#plan) || stable.replicas >= replicas) return null;
    return grow(this.#cluster, deploymentRef(this.#plan.namespace, stable.name), replicas, write);
  }

  /**
   * Stable's new pods may be the ones that fail: nobody is left on them while they are replaced, as long as the canary is
   * the better place. Written also where it has everything already, so that a late write of the hand-back is refused.
   * Answers what people should know of it, or nothing.
   */
  async #leaveToTheCanary(tracks: TracksView, write: TargetWrite): Promise<string> {
    const { stable, stableObject, canary, container, traffic } = tracks;
    const { fence, signal } = write;
    // Where pods are the share, the traffic follows stable's as they are replaced.
    if (sharesByReplicas(this.#plan) || !isPromoted(stableObject, fence.release)) return '';
    if (canary === null || imageIn(canary, container.name) !== container.image) return '';
    const available = canary.availableReplicas;
    if (available === 0 || available < Math.min(sizeOf(tracks, write), stable.availableReplicas)) return '';
    try {
      const { weight, match } = await traffic.observe({ signal });
      const document = { weight: 100, match };
      await traffic.apply({ document, fence, signal });
      if (weight === 100) return '';
      const { onWait, onWaited } = this.#cluster;
      const why = await confirm(traffic, { document, signal, timeoutMs: CONFIRM_BACK_MS, onWait, onWaited });
      return `${describeShare(this.#plan)} 100 % again${why === null ? '' : `, and not known to be in force: ${why}`}. `;
    } catch (error) {
      if (!(error instanceof TrafficFailure)) throw error;
      // With nothing left to route by there is no traffic to be moved, and stable is restored all the same.
      if (error.kind === 'missing') return '';
      if (error.kind === 'invalidRoute' || error.kind === 'unsupported')
        return `The traffic is left where it is: ${error.message} `;
      throw error;
    }
  }

  /** @throws TargetFailure `unreachable` while the canary is the better place; stable gets the pods that somebody took. */
  async #refuseWithoutStablePods(tracks: TracksView, write: WeightWrite): Promise<void> {
    const { stable, canary } = tracks;
    // As long as the canary serves, nobody is sent to a track without pods.
    const scaledDown = this.#carriers.isScaledDown(tracks, write) && (canary?.availableReplicas ?? 0) > 0;
    if (scaledDown) await this.#giveStableItsPods(tracks, write);
    // Where stable is to have no pods, a first version goes back to nobody; one that served before the release does not.
    const carried = isAnothers(tracks, write) ? await this.#carriers.alone(tracks, write.signal) : null;
    if (carried !== null) throw new TargetFailure('unreachable', carried.why);
    if (scaledDown || (stable.availableReplicas === 0 && stable.replicas > 0)) {
      throw new TargetFailure(
        'unreachable',
        `Deployment ${stable.namespace}/${stable.name} has no available pod, so the traffic stays on the canary until it has one.`,
      );
    }
    // New pods that have just replaced the old ones must all be there before they get everything. What an ended release
    // has left of its promotion keeps nobody on a canary that fails.
    if (!isBeingPromoted(tracks.stableObject, write.fence.release)) return;
    refuseUndone(tracks, write);
    refuseWithoutPods(stable, 100);
    if (!sharesByReplicas(this.#plan)) refuseUntilFollowed(this.#cluster, stable);
  }

  /** True when the canary is what this release would make it. */
  #runsAlready({ canary, container }: TracksView, write: TargetWrite): boolean {
    return canary !== null && imageIn(canary, container.name) === imageOf(write);
  }

  #editOfCanary({ canary, canaryObject, container }: TracksView, write: TargetWrite): PodsEdit | null {
    return canary === null ? null : editOfPods(canary, givenPods(canaryObject, container.name, write));
  }

  /**
   * Nobody looks while a person decides: before any more traffic comes to it, the canary is what was tested again. Traffic
   * that is taken from it waits for none of that. What somebody else had made of it, in sentences.
   *
   * @throws TargetFailure `invalidTarget` where it does not stay that; `guardTripped` where an edit is to end the release.
   */
  async #putPodsRight(tracks: TracksView, write: WeightWrite & { previousWeight: number }): Promise<string[]> {
    const { canary, canaryObject, canaryName, container } = tracks;
    const edit = this.#editOfCanary(tracks, write);
    if (canary === null) return [];
    const { namespace, onForeignEdit } = this.#plan;
    const given = givenPods(canaryObject, container.name, write);
    const shown = `Deployment ${namespace}/${canaryName}`;
    const edits: string[] = [];
    if (onForeignEdit === 'rollback') refuseUntested(canary, given, { ends: true });
    else if (canary.paused) {
      if (edit === null) await this.#resume(tracks, write);
      edits.push(`${shown} was paused, and was resumed before that.`);
    }
    if (edit === null) return edits;
    const put = (): Promise<void> => this.#ensureCanary(tracks, write, canary.replicas);
    const told = `${shown} had ${edit.found}, and`;
    if (!(await this.#isRaised(tracks, write))) {
      const failed = await failureInTheWayDown(put);
      const how =
        failed === null ? `was given ${edit.given} again.` : `could not be given ${edit.given} yet: ${failed}`;
      return [...edits, `${told} ${how}`];
    }
    await put();
    const at = { namespace, name: canaryName };
    const wait = { needed: canary.replicas, complete: true, mayShrink: true, timeoutMs: PODS_MS, signal: write.signal };
    const refuse = (view: DeploymentView): void => refuseUntested(view, given);
    // A note that does not say the template may not say either what admission makes of the image.
    const sure = given.template === null ? {} : { refuse };
    await waitUntilReady(this.#cluster, at, { ...wait, justChanged: true, ...sure });
    return [...edits, `${told} was given ${edit.given} again before that.`];
  }

  /**
   * False where a write only takes traffic from the canary, or leaves it what it has. Asked of the routing, too: somebody
   * else may have taken more from it already.
   */
  async #isRaised({ traffic }: TracksView, write: WeightWrite & { previousWeight: number }): Promise<boolean> {
    const { weight, previousWeight, match, signal } = write;
    if (weight > previousWeight) return true;
    // Where pods are the share, a share without available pods is seen as none.
    if (sharesByReplicas(this.#plan)) return false;
    const routed = await traffic.observe({ signal });
    return isMore({ weight, match }, routed);
  }

  /** The canary's pods for a weight, there and available, before it gets more of it. What kept them away otherwise, in sentences. */
  async #ensurePods(tracks: TracksView, write: WeightWrite & { previousWeight: number }): Promise<string[]> {
    const { signal } = write;
    const { namespace } = this.#plan;
    const needed = replicasFor(write.weight, sizeOf(tracks, write));
    const at = { namespace, name: tracks.canaryName };
    const seen = tracks.canary !== null && readinessOf(tracks.canary, needed).kind === 'ready';
    if (seen && (await isReadyNow(this.#cluster, at, { needed, signal }))) return [];
    const more = (tracks.canary?.replicas ?? 0) < needed;
    const told = `Deployment ${namespace}/${tracks.canaryName}`;
    const anew =
      tracks.canary === null
        ? [`${told} ${describeMadeAgain(await this.#kept(tracks, write), tracks.stable)} before that.`]
        : [];
    const put = async (): Promise<void> => {
      if (tracks.canary === null) await this.#ensureCanary(tracks, write, 1);
      if (more) await this.#resizeCanary(tracks, needed, write);
    };
    if (!(await this.#isRaised(tracks, write))) {
      const failed = await failureInTheWayDown(put);
      return failed === null ? anew : [`${told} lacks pods: ${failed}`];
    }
    await put();
    await waitUntilReady(this.#cluster, at, {
      needed,
      complete: false,
      timeoutMs: PODS_MS,
      signal,
      justChanged: more || tracks.canary === null,
    });
    if ((tracks.canary?.availableReplicas ?? 0) === 0) await letGatewaysHear(this.#deps, this.#plan.traffic, signal);
    return anew;
  }

  #resizeCanary({ canaryName, container }: TracksView, replicas: number, write: TargetWrite): Promise<void> {
    const ref = deploymentRef(this.#plan.namespace, canaryName);
    return resize(this.#cluster, ref, replicas, write, (live) => notingOwn(live, container.name, write));
  }

  /** While a weight is held: as many pods as it needs, by what stable is asked to have now. The sentence of what ends it. */
  async #keepPods(tracks: TracksView, write: WeightWrite): Promise<string | null> {
    const { namespace } = this.#plan;
    const { canary, canaryName } = tracks;
    const needed = replicasFor(write.weight, sizeOf(tracks, write));
    if (canary === null || this.#editOfCanary(tracks, write) !== null) {
      await this.#ensureCanary(tracks, write, needed);
      return null;
    }
    if (canary.replicas < needed) await this.#resizeCanary(tracks, needed, write);
    if (canary.availableReplicas >= Math.min(needed, canary.replicas)) return null;
    return failureOfPods(this.#cluster, { namespace, name: canaryName }, { needed, signal: write.signal });
  }

  /** Where the number of pods is the share: a canary that is gone or has been changed is made anew, and then sized. */
  async #keepVersion(tracks: TracksView, write: WeightWrite): Promise<void> {
    if (tracks.canary !== null && this.#editOfCanary(tracks, write) === null) return;
    await this.#ensureCanary(tracks, write, 0);
  }

  /** What is there, and what of it somebody else has done; that is said of nobody by what a watch has told. */
  async #lookForEdits(write: WeightWrite): Promise<Seen> {
    const { signal } = write;
    const look = async (fresh: boolean): Promise<Seen> => {
      const tracks = await lookAtTracks(this.#cluster, this.#plan, { signal, fresh });
      const routing = await tracks.traffic.observe({ signal, fresh });
      const foreignEdits = [
        ...routing.foreignEdits,
        ...(await this.#editsOf(tracks, write)),
        ...this.#editsOfStable(tracks, write),
      ];
      return { tracks, routing, foreignEdits };
    };
    const told = await look(false);
    const asAsked = told.foreignEdits.length === 0 && !this.#differs(told.tracks, told.routing, documentOf(write));
    return asAsked || this.#cluster.watching === undefined ? told : look(true);
  }

  async #editsOf(tracks: TracksView, write: WeightWrite): Promise<string[]> {
    const { canary, canaryName } = tracks;
    const shown = `Deployment ${this.#plan.namespace}/${canaryName}`;
    if (canary === null) return [`${shown} ${describeMadeAgain(await this.#kept(tracks, write), tracks.stable)}.`];
    const edits = canary.paused ? [`${shown} was paused, and was resumed.`] : [];
    const edit = this.#editOfCanary(tracks, write);
    if (edit !== null) return [...edits, `${shown} had ${edit.found}, and was given ${edit.given} again.`];
    return canary.replicas === 0 ? [...edits, `${shown} was scaled to 0, and was given its pods again.`] : edits;
  }

  #resume({ canaryName }: TracksView, write: TargetWrite): Promise<void> {
    return resume(this.#cluster, deploymentRef(this.#plan.namespace, canaryName), write);
  }

  /** Of stable only what it is there for: to be compared with, and to be gone back to. */
  #editsOfStable(tracks: TracksView, write: WeightWrite): string[] {
    const { stable, stableObject, container } = tracks;
    const undone = undoneBySomebody(stableObject, write.fence.release);
    if (undone !== null) {
      return [`Deployment ${stable.namespace}/${stable.name} ${undone}, which the promotion gave it.`];
    }
    const noted = notedStable(tracks, write);
    if (noted === null || isBeingPromoted(stableObject, write.fence.release)) return [];
    const shown = `Deployment ${stable.namespace}/${stable.name}`;
    if (this.#carriers.isScaledDown(tracks, write)) return [`${shown} was scaled to 0, and was given its pods again.`];
    const { image } = noted;
    if (container.image === image) return [];
    return [
      `${shown} has the image ${container.image}; when the release began it was ${image}: the canary is compared with, and would be taken back to, another version than before.`,
    ];
  }

  /** What of stable's pod template is not its image is its owner's, also during a release. */
  #standingEdits(tracks: TracksView, write: WeightWrite): string[] {
    const { stable, stableObject, container } = tracks;
    const { settings } = notedStable(tracks, write) ?? {};
    if (settings === undefined || isBeingPromoted(stableObject, write.fence.release)) return [];
    if (settings === settingsDigest(stable.template, container.name)) return [];
    return [
      `Deployment ${stable.namespace}/${stable.name} has another pod template than when the release began: the canary is compared with, and would be taken back to, other pods than before, and a promotion leaves stable this template with the new image.`,
    ];
  }

  /** As many as carry what the canary carries now. */
  async #giveStableItsPods(tracks: TracksView, write: TargetWrite): Promise<void> {
    const ref = deploymentRef(this.#plan.namespace, tracks.stable.name);
    await resize(this.#cluster, ref, Math.max(sizeOf(tracks, write), tracks.canary?.replicas ?? 0), write);
  }

  /** Where pods are the share, a canary that was left there has its own until stable has its pods, and it has none. */
  async #withoutShare(tracks: TracksView, write: TargetWrite & { timeoutMs: number }): Promise<TracksView> {
    const { traffic, canary, canaryName } = tracks;
    const { signal, fence, timeoutMs } = write;
    if ((canary?.replicas ?? 0) === 0) return tracks;
    const document: TrafficDocument = { weight: 0, match: [] };
    const again = async (): Promise<void> => {
      await traffic.apply({ document, fence, signal });
    };
    const why = await confirm(traffic, { document, signal, timeoutMs, again });
    if (why === null) return lookAtTracks(this.#cluster, this.#plan, { signal, fresh: true });
    throw new TargetFailure(
      'unreachable',
      `Deployment ${this.#plan.namespace}/${canaryName} still has a share of the traffic, so it is not given ${write.version} yet: ${why}`,
    );
  }

  async #ensureService(tracks: TracksView, write: TargetWrite): Promise<void> {
    if (sharesByReplicas(this.#plan)) return;
    await this.#serviceFor(tracks, write, { name: tracks.canaryService, selector: tracks.selectors.canary });
  }

  /** Where a gateway sends the share: a Service that is gone, or finds other pods, would lose it. Told, and put right. */
  async #putServiceRight(tracks: TracksView, write: TargetWrite): Promise<string[]> {
    const { namespace, traffic } = this.#plan;
    const { canaryService: name, selectors, labels } = tracks;
    if (traffic.kind === 'replicas' || traffic.kind === 'serviceSelector') return [];
    const edit = await editOfService(this.#cluster, serviceRef(namespace, name), {
      wanted: selectors.canary,
      isRight: (selector) => selects(selector, labels),
      signal: write.signal,
    });
    if (edit === null) return [];
    await this.#refuseIfLate(tracks, write);
    await this.#ensureService(tracks, write);
    return [edit];
  }

  async #serviceFor(
    tracks: TracksView,
    write: TargetWrite,
    { name, selector }: { name: string; selector: Readonly<Record<string, string>> },
  ): Promise<void> {
    const { fence } = write;
    const adopt = (live: KubernetesObject): KubernetesObject => {
      refuseOtherPods(live, selector, podsOf(tracks, selector));
      return live;
    };
    const { serviceName: service } = this.#plan;
    const make = { name, service, track: 'canary', release: fence.release, fence, selector, isScraped: true };
    await ensureUnlessLate(this.#cluster, tracks.traffic, trackService(tracks.service, make), write, adopt);
  }

  /** The canary as a look or a weight needs it: made where it is gone, and else given what the release has given it. */
  async #ensureCanary(tracks: TracksView, write: TargetWrite, replicas: number): Promise<void> {
    const { stable, canary, canaryObject, container, labels, selectors } = tracks;
    await this.#refuseIfLate(tracks, write);
    const kept = canary === null ? await this.#kept(tracks, write) : null;
    const given =
      kept === null
        ? toBeGivenAgain(givenPods(canaryObject, container.name, write), canary)
        : keptTemplate(kept, { ...canarySelector(stable, labels), ...selectors.canary });
    return this.#makeCanary(tracks, write, { replicas, given, kept, resumes: true });
  }

  /** What the release has noted on a canary that is gone; null where nothing has kept that. */
  async #kept({ canaryService }: TracksView, write: TargetWrite): Promise<KeptNote | null> {
    if (sharesByReplicas(this.#plan)) return null;
    return keptNote(this.#cluster, serviceRef(this.#plan.namespace, canaryService), write);
  }

  async #keep({ canaryName, canaryService }: TracksView, write: TargetWrite): Promise<void> {
    const { namespace } = this.#plan;
    if (sharesByReplicas(this.#plan)) return;
    const refs = { of: deploymentRef(namespace, canaryName), on: serviceRef(namespace, canaryService) };
    await keepNote(this.#cluster, refs, write);
  }

  /** What a weight or a look finds gone a roll back may have removed: who comes after that makes nothing. */
  async #refuseIfLate({ traffic }: TracksView, write: TargetWrite): Promise<void> {
    refuseLate(await traffic.observe({ signal: write.signal }), write, this.#plan);
  }

  /**
   * `given`: the template that the release has given it before; `kept`: the same of one that is gone. `carries`: it has the traffic, so it is taken over as it
   * is, and no pod of it is made anew. `resumes`: one that somebody has paused rolls out by the same write.
   */
  async #makeCanary(
    tracks: TracksView,
    write: TargetWrite,
    {
      replicas,
      given = null,
      kept = null,
      carries = false,
      resumes = false,
    }: {
      readonly replicas: number;
      readonly given?: PodTemplate | null;
      readonly kept?: KeptNote | null;
      readonly carries?: boolean;
      readonly resumes?: boolean;
    },
  ): Promise<void> {
    const { stable, stableObject, container, canaryObject } = tracks;
    const change = { container: container.name, image: imageOf(write) };
    const noted = notedStable(tracks, write) ?? kept?.stable ?? notedAnew(tracks, carries);
    const note = {
      version: write.version,
      plan: this.#plan,
      stable: noted,
      ...(kept?.admitted === undefined ? admittedAgain(canaryObject, write, given) : { admitted: kept.admitted }),
    };
    const copies = carries || given !== null ? null : await this.#copies(tracks, write);
    const original = { ...stable, template: copies === null ? stable.template : withOriginals(stable.template) };
    const made = trackDeployment(original, stableObject['spec'] as Record<string, unknown>, {
      name: tracks.canaryName,
      service: this.#plan.serviceName,
      release: write.fence.release,
      track: 'canary',
      labels: tracks.labels,
      replicas: Math.max(replicas, tracks.canary?.replicas ?? 0),
      fence: write.fence,
      ...change,
    });
    const spec = carries && canaryObject !== null ? { spec: canaryObject['spec'] } : {};
    const wanted = noting(rollingOut({ ...namingCopies(made, copies), ...spec }, resumes), note, given);
    if (canaryObject !== null) refuseOtherSelector(canaryObject, canarySelector(stable, tracks.labels));
    const adopt = (live: KubernetesObject): KubernetesObject => {
      const has = readDeployment(live).replicas;
      const named = namingCopies(adopted(live, { ...change, replicas: Math.max(replicas, has) }), copies);
      return noting(rollingOut(named, resumes), { ...note, ownReplicas: ownReplicas(live, has) }, given);
    };
    try {
      const after = await ensureUnlessLate(this.#cluster, tracks.traffic, wanted, write, adopt);
      if (given === null || kept !== null)
        await noteAdmitted(this.#cluster, { before: canaryObject, after, container: container.name }, write);
      await this.#keep(tracks, write);
    } catch (error) {
      // The copies were made for a canary that is not to be.
      const late = error instanceof TargetFailure && error.kind === 'fenceLost';
      if (late && this.#copiesConfig()) {
        await this.#collect(tracks, { ...write, signal: AbortSignal.timeout(CONFIRM_BACK_MS) });
      }
      throw error;
    }
  }

  /** Through the Service that finds them; while that one points to the canary, through one of their own. */
  async #testStable(tracks: TracksView, write: TargetWrite, test: SmokeTestStep): Promise<string> {
    const { namespace, service, port } = this.#plan;
    const { signal, version } = write;
    const asked = { namespace, service, deployment: tracks.stable.name, port, test, version, signal };
    if (this.#plan.traffic.kind !== 'serviceSelector') return smokeTestThroughProxy(this.#cluster, asked);
    const name = `${service}-stable`;
    await this.#serviceFor(tracks, write, { name, selector: tracks.selectors.stable });
    try {
      return await smokeTestThroughProxy(this.#cluster, { ...asked, service: name });
    } finally {
      await this.#removeService(name, write);
    }
  }

  /**
   * Of a canary of the user's own: null for none. Where its Service is named without a share and needs pods for that, as
   * many as it had before the release, of what stable runs: pods of a version that was taken back might never be ready.
   */
  async #keptPods(
    { traffic, canaryObject, canary, container }: TracksView,
    signal: AbortSignal,
  ): Promise<KeptPods | null> {
    if (this.#plan.traffic.kind !== 'traefik' || canaryObject === null) return null;
    const { needsPods = false } = await traffic.observe({ signal });
    // One that is let go already keeps what it was left with.
    const before = ownReplicas(canaryObject, canary?.replicas ?? 0);
    return needsPods && before > 0 ? { replicas: before, container: container.name, image: container.image } : null;
  }

  /** One of the user's own stays, and is nobody's any more: then null. */
  async #removeService(name: string, write: TargetWrite): Promise<Removal | null> {
    const ref = serviceRef(this.#plan.namespace, name);
    const removed = await removeMade(this.#cluster, ref, write);
    if (removed === null) await letGo(this.#cluster, ref, write);
    return removed;
  }
}

/** Those that a Service of a track is to find, and those that it is not to. */
function podsOf(
  { stable, canaryName, labels }: TracksView,
  selector: Labels,
): { readonly of: string; readonly labels: Labels; readonly others: Labels } {
  return selects(selector, labels)
    ? { of: canaryName, labels, others: stable.templateLabels }
    : { of: stable.name, labels: stable.templateLabels, others: labels };
}

/** The templates as the user wrote them: of stable, and of a canary that the user made. */
function originalsOf({ stable, canary, canaryObject }: TracksView): readonly PodTemplate[] {
  const own = canary !== null && canaryObject !== null && !isMade(canaryObject) ? [canary] : [];
  return [stable, ...own].map(({ template }) => withOriginals(template));
}

function namingCopies(object: KubernetesObject, copies: Copies | null): KubernetesObject {
  if (copies === null) return object;
  const spec = object['spec'] as { readonly template: PodTemplate };
  return { ...object, spec: { ...spec, template: withCopies(spec.template, copies) } };
}

/** What a canary of the user's own was to have before a release took it. Workers of before left it without pods. */
function ownReplicas(canaryObject: KubernetesObject, has: number): number {
  const note = targetNoteOn(canaryObject);
  return note === null ? has : (note.ownReplicas ?? 0);
}

function describePutBack({ weight: found }: TrafficView, weight: number): string {
  return found === null || Math.round(found) === weight
    ? 'The traffic lacked a header or cookie that was asked for, and has it again.'
    : `The traffic was at ${Math.round(found)} % and was put back to ${weight} %.`;
}

function documentOf({ weight, match }: WeightWrite): TrafficDocument {
  return { weight, match };
}

/**
 * A service without pods has no version yet: nothing to share the traffic with, and nothing to compare with.
 *
 * @throws TargetFailure `invalidTarget` where the number of pods is the share: of none there is none.
 */
function isNew({ stable, canary }: TracksView, { traffic }: KubernetesTargetPlan): boolean {
  if (stable.replicas > 0) return false;
  if (traffic.kind !== 'replicas') return true;
  if ((canary?.replicas ?? 0) > 0) return false;
  throw new TargetFailure(
    'invalidTarget',
    `Deployment ${stable.namespace}/${stable.name} has no pods, and with traffic by replicas their number is the share; give it some first: kubectl -n ${stable.namespace} scale deployment/${stable.name} --replicas=4.`,
  );
}

function describeKept({ replicas, image }: KeptPods, { namespace, traffic }: KubernetesTargetPlan): string {
  const name = traffic.kind === 'traefik' ? `${namespace}/${traffic.traefikService}` : namespace;
  return `keeps ${replicas} ${replicas === 1 ? 'pod' : 'pods'} of ${image}, because TraefikService ${name} names its Service even at weight 0`;
}

function describeShare({ traffic }: KubernetesTargetPlan): string {
  return `The canary's share by ${traffic.kind} is`;
}
