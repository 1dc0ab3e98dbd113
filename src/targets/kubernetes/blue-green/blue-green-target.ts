import type { KubernetesTargetPlan, SmokeTestStep } from '../../../spec/plan-types';
import { refuseStale, withFence } from '../../../traffic/fence';
import { disown, findObject, heldOn, rewrite, withHeld } from '../../../traffic/held-object';
import { diff } from '../../../traffic/json-patch';
import type { Newness } from '../../../traffic/cluster-access';
import type { Applied, TrafficDocument, TrafficRouter, TrafficView } from '../../../traffic/traffic-router';
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
import { readDeployment } from '../deployment-view';
import type { DeploymentView } from '../deployment-view';
import { asTargetFailure } from '../failures';
import {
  admittedAgain,
  describePlaces,
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
import type { GivenPods, PodsEdit } from '../given-pods';
import { describeMadeAgain, keepNote, keptNote, keptTemplate } from '../kept-note';
import type { KeptNote } from '../kept-note';
import type { KubernetesObject } from '../objects';
import type { PodTemplate } from '../pod-config';
import { smokeTestThroughProxy } from '../proxied-smoke-test';
import { readinessOf, readyPods } from '../readiness';
import { rememberReads } from '../remembered-reads';
import { confirm, describeDoubt, describeGone, describeMet, ensureInForce, shiftTraffic } from '../shift-traffic';
import { targetNoteOn, withoutTargetNote } from '../target-note';
import {
  admittedNote,
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
  lacksPods,
  noteAdmitted,
  PODS_MS,
  prepareRelease,
  refuseLate,
  refuseOtherPods,
  refuseUntested,
  refuseUntilFollowed,
  refuseWithoutPods,
  refuseWithoutStable,
} from '../track-checks';
import type { KubernetesTargetDeps } from '../track-checks';
import { canarySelector, trackDeployment, trackService, withImage } from '../track-manifest';
import { describe, replicasFor, selects, SERVICE_LABEL, TRACK_LABEL } from '../tracks';
import { isReadyNow, waitUntilReady } from '../wait-ready';
import {
  deploymentRef,
  editOfService,
  ensure,
  giveBack,
  grow,
  isMade,
  letGo,
  resize,
  resume,
  serviceRef,
} from '../workloads';
import type { WorkloadWrite } from '../workloads';
import { recolouredLabels } from './colours';
import { lookAtPair, splitTowards, turned } from './pair-view';
import type { PairView, Side } from './pair-view';
import { withoutRoles, withRoles } from './roles';
import type { Roles } from './roles';

/**
 * Two Deployments, of which the active Service's selector finds one. The new version comes up whole on the other; the
 * switch, and the way back, is one write to the Service. What a traffic splitter sends there before is by the idle
 * one's preview Service. Nothing is rolled out a second time.
 */
export function createBlueGreenTarget(plan: KubernetesTargetPlan, deps: KubernetesTargetDeps): Target {
  return rememberReads(deps.cluster, (cluster) => new BlueGreenTarget(plan, { ...deps, cluster }));
}

const NONE: TrafficDocument = { weight: 0, match: [] };
const ALL: TrafficDocument = { weight: 100, match: [] };

/** What one look has found. */
interface Seen {
  readonly pair: PairView;
  readonly split: TrafficRouter | null;
  readonly selected: TrafficView;
  readonly routing: TrafficView | undefined;
}

class BlueGreenTarget implements Target {
  readonly #plan: KubernetesTargetPlan;
  readonly #deps: KubernetesTargetDeps;
  readonly #cluster: Cluster;

  constructor(plan: KubernetesTargetPlan, deps: KubernetesTargetDeps) {
    this.#plan = plan;
    this.#deps = deps;
    this.#cluster = deps.cluster;
  }

  observe({ version, match = [], signal }: TargetLook): Promise<TargetView> {
    return asTargetFailure(async () => {
      const artifact = await prepareRelease(this.#plan, this.#deps, { version, signal });
      const { old, next, container, split } = await lookAtPair(this.#cluster, this.#plan, { release: null, signal });
      const routing = split === null ? null : await split.observe({ signal, planned: match });
      // What a release before this one has left of its split is ended by the first write.
      if (routing !== null && !(await this.#isLeftSplit(old, signal))) refuseWithoutStable(routing, this.#plan);
      // Without pods it has no version yet: nobody to compare with, and nothing that could be released already.
      const isNew = old.view !== null && old.view.replicas === 0;
      return {
        stableVersion: isNew ? null : container.image,
        canaryVersion: next.view !== null && next.view.replicas > 0 ? imageIn(next.view, container.name) : null,
        weight: routing?.weight ?? 0,
        idle: next.colour,
        artifact: asItRuns(artifact, [container.image]),
      };
    });
  }

  deploy(write: TargetWrite & { timeoutMs: number }): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence } = write;
      const pair = await this.#look(write);
      const roles = pair.roles ?? rolesFor(pair, write);
      // The fence first, onto what the switch is about: from here on a late attempt of another release is refused there.
      await this.#hold(roles, write);
      await this.#endLeftNote(pair.old, write);
      for (const side of [pair.old, pair.next]) await this.#ensurePreview(pair, side, write);
      if (pair.split !== null) {
        await this.#endLeftSplit(pair, write);
        await pair.split.apply({ document: NONE, fence, signal });
      }
      const size = Math.max(1, there(pair.old).replicas);
      const note = await this.#makeNext({ ...pair, roles }, write, { size });
      const at = { namespace: this.#plan.namespace, name: pair.next.name };
      const wait = { needed: size, complete: true, timeoutMs: write.timeoutMs, signal };
      const ready = await waitUntilReady(this.#cluster, at, wait);
      await letGatewaysHear(this.#deps, this.#plan.traffic, signal);
      return `${write.version} runs as Deployment ${at.namespace}/${at.name} with ${readyPods(ready)}, as many as ${pair.old.name} has, and without traffic.${note}`;
    });
  }

  smokeTest(request: { test: SmokeTestStep; release: string; version: string; signal: AbortSignal }): Promise<string> {
    const { test, release, version, signal } = request;
    const { namespace, port } = this.#plan;
    return asTargetFailure(async () => {
      const { next } = await lookAtPair(this.#cluster, this.#plan, { release, signal });
      const asked = { namespace, service: next.preview, deployment: next.name, port, test, version, signal };
      return smokeTestThroughProxy(this.#cluster, asked);
    });
  }

  setWeight(write: WeightWrite & { previousWeight: number; back?: boolean }): Promise<string> {
    return asTargetFailure(async () => {
      const pair = await this.#look(write);
      await this.#whileIdle(pair, write, async () => refuseUnlessIdle(pair.service, pair, write));
      if (write.weight === 0 && write.match.length === 0) {
        return this.#whileIdle(pair, write, () => this.#takeBack(this.#asReleased(pair, write), write));
      }
      const lost = await this.#noteAgain(pair, write);
      const said = [lost, ...(await this.#ensurePods(pair, write))];
      const done = await (write.weight === 100 ? this.#switch(pair, write) : this.#split(pair, write));
      return [done, ...said.flatMap((one) => one ?? [])].join(' ');
    });
  }

  reassert(write: WeightWrite): Promise<Reassertion> {
    return asTargetFailure(async () => {
      const { signal, fence, weight } = write;
      const told = await this.#lookAtAll(write);
      // Nobody is said to have changed anything by what a watch has told.
      const sure = this.#cluster.watching === undefined || this.#isAsAsked(told, write);
      const { pair, split, selected, routing } = sure ? told : await this.#lookAtAll(write, { fresh: true });
      const { active } = pair;
      refuseLate(selected, write, this.#plan);
      const foreignEdits = [...selected.foreignEdits, ...(routing?.foreignEdits ?? [])];
      const lost = await this.#noteAgain(pair, write);
      if (lost !== null) foreignEdits.push(lost);
      foreignEdits.push(...(await this.#putWorkloadsRight(pair, write)));
      if (split !== null) foreignEdits.push(...(await this.#putPreviewRight(pair, write)));
      const guardTripped = await this.#failureOfNext(pair, write);
      if (guardTripped === null) {
        const whole = weight === 100 ? ALL : NONE;
        const isSelected = selected.weight === whole.weight && selected.foreignEdits.length === 0;
        const document = documentOf(write);
        const isSplit = routing === undefined || (routing.foreignEdits.length === 0 && !differs(routing, document));
        const notYet = isSelected && isSplit ? null : this.#withoutPods(pair, weight);
        if (notYet !== null) foreignEdits.push(notYet);
        const puts: { readonly router: TrafficRouter; readonly document: TrafficDocument }[] = [];
        if (notYet === null && !isSelected) puts.push({ router: active, document: whole });
        if (notYet === null && !isSplit && split !== null) puts.push({ router: split, document });
        for (const { router, document } of puts) await router.apply({ document, fence, signal });
        for (const { router, document } of puts) {
          const doubt = await describeDoubt(router, { document, signal });
          if (doubt !== null) foreignEdits.push(doubt);
        }
      }
      return {
        foreignEdits,
        standing: this.#standingEdits(pair),
        guardTripped,
        unreachable: [],
        tracks: tracksOf(pair),
      };
    });
  }

  promote(write: TargetWrite & PromoteRequest): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence } = write;
      const pair = await this.#look(write);
      refuseLate(await pair.active.observe({ signal }), write, this.#plan);
      await this.#noteAgain(pair, write);
      // Somebody may have changed it since the last look.
      refuseUntested(there(pair.next), this.#givenTo(pair, write));
      refuseWithoutPods(there(pair.next), 100);
      await pair.active.apply({ document: ALL, fence, signal });
      // Where it is not so, the switch was taken back by somebody: both have their pods, and the way back is the weight's.
      await this.#ensurePointed(pair, ALL, signal);
      return `${write.version} is the active version: Service ${this.#shown(this.#plan.service)} finds Deployment ${pair.next.name}, whose pods are those that were tested.`;
    });
  }

  restoreStable(write: TargetWrite & { stableVersion: string }): Promise<string> {
    return asTargetFailure(async () => {
      const { stableVersion } = write;
      const pair = await this.#look(write);
      const edited = await this.#giveOldItsImage(pair, write);
      const shown = `Deployment ${this.#shown(pair.old.name)}`;
      // Not waited for: whoever has the traffic meanwhile is the reason for going back.
      if (edited !== null) return edited;
      return pair.old.view === null
        ? `${shown} is gone: there is no way back to ${stableVersion}.`
        : `${shown} still is as it was, with ${stableVersion}: a switch changes no pods.`;
    });
  }

  removeCanary(write: TargetWrite): Promise<string> {
    return asTargetFailure(async () => {
      const { signal, fence } = write;
      // Which side may lose its pods is the server's own word.
      const found = this.#asReleased(await this.#look(write, { asked: true }), write);
      // What the release still has under way is older than this, and is refused; and so is this, if somebody was later.
      await this.#fence(write, found);
      const { pair, moved } = await this.#pointedBack(found, write);
      const idle = this.#idleOf(pair);
      const { split } = pair;
      this.#refuseToStrand(pair, idle);
      if (pair.roles === null) await this.#endLeftSplit(pair, write);
      let gone = '';
      if (split !== null) {
        if (idle === pair.next) {
          gone = describeGone(await split.apply({ document: NONE, fence, signal, mayBeGone: true }));
          // No pods are taken from a side that may still get traffic.
          const { onWait, onWaited } = this.#cluster;
          const back = { document: NONE, signal, timeoutMs: CONFIRM_BACK_MS, mayBeGone: true, onWait, onWaited };
          const why = await confirm(split, back);
          if (why !== null) throw new TargetFailure('unreachable', `The new version may still get traffic: ${why}`);
        }
        await split.release({ fence, signal, mayBeGone: true });
      }
      if (idle.view !== null) {
        keepUntilFollowed(this.#cluster, idle.view);
        await this.#emptied(pair, idle.view, write);
      }
      await this.#letGo(pair, write);
      return `Deployment ${this.#shown(idle.name)} is ${idle.view === null ? 'gone' : 'without pods'}; ${idle === pair.next ? pair.old.name : pair.next.name} has all of the traffic.${moved}${gone}`;
    });
  }

  close(): void {
    // The cluster's connections are the worker's, and shared.
  }

  #look({ fence, signal }: TargetWrite, newness: Newness = {}): Promise<PairView> {
    return lookAtPair(this.#cluster, this.#plan, { release: fence.release, signal, ...newness });
  }

  /** Both Deployments, and all of the routing that a weight is about. */
  async #lookAtAll(write: WeightWrite, newness: { readonly fresh?: boolean } = {}): Promise<Seen> {
    const pair = await this.#look(write, newness);
    const split = write.weight === 100 ? null : pair.split;
    const how = { signal: write.signal, ...newness };
    const [selected, routing] = await Promise.all([pair.active.observe(how), split?.observe(how)]);
    return { pair, split, selected, routing };
  }

  /** True when there is nothing to put right, and nothing to tell. */
  #isAsAsked({ pair, selected, routing }: Seen, write: WeightWrite): boolean {
    const { old, next, container, roles } = pair;
    if (pair.rolesLost || old.view === null || next.view === null || next.view.replicas === 0) return false;
    if (old.view.replicas === 0 && roles?.replicas !== 0) return false;
    const before = imageIn(old.view, container.name);
    return (
      this.#editOfNext(pair, write) === null &&
      !next.view.paused &&
      (roles === null || before === null || before === roles.image) &&
      selected.foreignEdits.length === 0 &&
      selected.weight === (write.weight === 100 ? ALL : NONE).weight &&
      (routing === undefined || (routing.foreignEdits.length === 0 && !differs(routing, documentOf(write))))
    );
  }

  #refOf({ name }: Pick<Side, 'name'>): ReturnType<typeof deploymentRef> {
    return deploymentRef(this.#plan.namespace, name);
  }

  #shown(name: string): string {
    return `${this.#plan.namespace}/${name}`;
  }

  /** Notes the parts on the active Service, under the fence; the first write of a release. */
  async #hold(roles: Roles, { fence, signal }: TargetWrite): Promise<void> {
    const held = { document: NONE, origin: null };
    await rewrite(this.#cluster, serviceRef(this.#plan.namespace, this.#plan.service), { fence, signal }, (live) =>
      withRoles(withHeld(live, fence, held), roles),
    );
  }

  /**
   * Where the traffic goes stays as it is, and what is older than this is refused from here on. Of a clean-up only as long
   * as the colour is without users, which the write finds out: it lands on the Service that was looked at, or on none.
   *
   * @throws TargetFailure `notIdle`; then nothing is held any more.
   */
  async #fence(write: TargetWrite, pair: PairView): Promise<void> {
    const { fence, signal } = write;
    const ref = serviceRef(this.#plan.namespace, this.#plan.service);
    await this.#whileIdle(pair, write, () =>
      rewrite(this.#cluster, ref, { fence, signal }, (live) => {
        refuseUnlessIdle(live, pair, write);
        return withFence(live, fence);
      }),
    );
  }

  /** Where the colour is idle no more, nothing is held any more either. */
  async #whileIdle<T>(pair: PairView, write: TargetWrite, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      if (error instanceof TargetFailure && error.kind === 'notIdle') {
        // By now a look may take the colour for the active one, and `pair.split` leads to the other preview.
        const { next, old } = pair;
        const { preview } = next.colour === write.idle ? next : old;
        const split = splitTowards(this.#cluster, this.#plan, preview);
        await split?.release({ fence: write.fence, signal: write.signal, mayBeGone: true });
        await this.#letGo(pair, write);
      }
      throw error;
    }
  }

  /**
   * The idle side without pods. Of a clean-up the Service is asked again right before, and right after: whoever switches to
   * the colour in between gets its pods back.
   */
  async #emptied(pair: PairView, { name, replicas }: DeploymentView, write: TargetWrite): Promise<void> {
    const ref = this.#refOf({ name });
    const { namespace, service } = this.#plan;
    const ask = async (): Promise<void> => {
      if (write.idle === undefined) return;
      const { signal } = write;
      refuseUnlessIdle(
        await findObject(this.#cluster, serviceRef(namespace, service), signal, { fresh: true }),
        pair,
        write,
      );
    };
    await this.#whileIdle(pair, write, async () => {
      await ask();
      await resize(this.#cluster, ref, 0, write);
      try {
        await ask();
      } catch (error) {
        if (error instanceof TargetFailure && error.kind === 'notIdle') {
          await grow(this.#cluster, ref, replicas, write);
        }
        throw error;
      }
    });
  }

  /** As `active` at weight 0, for a clean-up: it never moves the Service, also where somebody else does so meanwhile. */
  async #holdIdle(pair: PairView, write: TargetWrite): Promise<void> {
    const { namespace, service } = this.#plan;
    const { fence, signal } = write;
    await rewrite(this.#cluster, serviceRef(namespace, service), { fence, signal, service }, (live) => {
      refuseUnlessIdle(live, pair, write);
      return withHeld(live, fence, { service, document: NONE, origin: null });
    });
  }

  /**
   * A Service that somebody has replaced (a sync that does not merge) knows nothing of the release: it gets its note again,
   * from the new one's Deployment. A sentence for people, or null where nothing was lost.
   *
   * @throws TargetFailure `invalidTarget` where both have lost it: which one is the new one cannot be told from the Service.
   */
  async #noteAgain(pair: PairView, { fence, signal }: TargetWrite): Promise<string | null> {
    const { roles, rolesLost, next } = pair;
    const { namespace, service } = this.#plan;
    const shown = `Service ${this.#shown(service)}`;
    if (roles === null) {
      // Or a later write has ended the release.
      refuseStale(pair.service, fence);
      throw new TargetFailure(
        'invalidTarget',
        `Neither ${shown} nor Deployment ${this.#shown(next.name)} has what the release noted on it, so which colour has the new version cannot be told: somebody has replaced both; keep what does that (a GitOps tool's sync with Replace) off them for the time of a release.`,
      );
    }
    if (!rolesLost) return null;
    await rewrite(this.#cluster, serviceRef(namespace, service), { fence, signal }, (live) =>
      withRoles(withFence(live, fence), roles),
    );
    return `${shown} had lost what the release notes on it, and was given it again.`;
  }

  /**
   * On the way back, where both notes are lost, the new one is the colour that runs the release's version. Of a clean-up,
   * which notes nothing, it is the idle one in any case.
   */
  #asReleased(pair: PairView, write: TargetWrite): PairView {
    const { roles, old, next, container } = pair;
    if (roles !== null || old.view === null || next.view === null) return pair;
    const version = imageOf(write);
    const isOther = imageIn(old.view, container.name) === version && imageIn(next.view, container.name) !== version;
    return isOther ? turned(this.#cluster, this.#plan, pair) : pair;
  }

  /** A release that was ended from outside has left its note on a colour that has the traffic now. */
  async #endLeftNote({ name, object }: Side, write: TargetWrite): Promise<void> {
    if (object === null || targetNoteOn(object) === null) return;
    await rewrite(this.#cluster, this.#refOf({ name }), write, (live) =>
      withoutTargetNote(withFence(live, write.fence)),
    );
  }

  #givenTo({ next, container }: PairView, write: TargetWrite): GivenPods {
    return givenPods(next.object, container.name, write);
  }

  #editOfNext(pair: PairView, write: TargetWrite): PodsEdit | null {
    const { view } = pair.next;
    return view === null ? null : editOfPods(view, this.#givenTo(pair, write));
  }

  /** What of the old one's pod template is not its image is its owner's, also during a release. */
  #standingEdits({ old, roles, container }: PairView): string[] {
    if (old.view === null || roles?.settings === undefined) return [];
    if (settingsDigest(old.view.template, container.name) === roles.settings) return [];
    return [
      `Deployment ${this.#shown(old.name)} has another pod template than when the release began: the way back is to other pods than before.`,
    ];
  }

  /** Somebody has given the old one another image: it gets its own again. A sentence for people, or null. */
  async #giveOldItsImage({ old, container, roles }: PairView, write: TargetWrite): Promise<string | null> {
    const image = old.view === null ? null : imageIn(old.view, container.name);
    if (roles === null || image === null || image === roles.image) return null;
    await this.#giveImage(old, { container: container.name, image: roles.image }, write);
    return `Deployment ${this.#shown(old.name)} had the image ${image}, and was given ${roles.image} again.`;
  }

  async #ensurePreview(pair: PairView, side: Side, write: TargetWrite): Promise<void> {
    const { fence } = write;
    const other = side === pair.next ? pair.old : pair.next;
    const wanted = trackService(pair.service, {
      name: side.preview,
      service: this.#plan.serviceName,
      release: fence.release,
      track: side.colour,
      fence,
      selector: side.selector,
      // Before the switch its share comes by the preview; the Service that is scraped has the other colour's pods.
      isScraped: side === pair.next && this.#plan.traffic.kind !== 'serviceSelector',
    });
    const ref = serviceRef(this.#plan.namespace, side.preview);
    const live = await this.#cluster.find(ref, { signal: write.signal });
    if (live === null || isMade(live)) {
      await ensure(this.#cluster, wanted, write, (appeared) => appeared);
      return;
    }
    // The user's own is looked at, and left as it is.
    const pods = { of: side.name, labels: labelsOn(pair, side), others: labelsOn(pair, other) };
    refuseOtherPods(live, side.selector, pods);
  }

  /** True where the split is one between the colour that has the traffic and its own preview. */
  async #isLeftSplit({ preview }: Side, signal: AbortSignal): Promise<boolean> {
    const left = splitTowards(this.#cluster, this.#plan, preview);
    if (left === null) return false;
    const { weight, refusal } = await left.observe({ signal });
    return (weight ?? 0) > 0 && refusal === undefined;
  }

  /**
   * A release that was ended from outside between its switch and the end of its split has left the other preview with a
   * share; everything goes to the active colour already, and the preview's name would now be the wrong one. What one that
   * was ended at its split has left leads to this release's own preview, and needs no end but weight 0.
   */
  async #endLeftSplit({ old }: PairView, { fence, signal }: TargetWrite): Promise<void> {
    const left = splitTowards(this.#cluster, this.#plan, old.preview);
    if (left === null) return;
    const { weight, match } = await left.observe({ signal, fresh: true });
    if ((weight ?? 0) > 0 || match.length > 0) await left.release({ fence, signal });
  }

  /** The new version as a look or a weight needs it: made where it is gone, and else given what the release has given it. */
  async #ensureNext(pair: PairView, write: TargetWrite, size: number): Promise<void> {
    const { next } = pair;
    const kept = next.view === null ? await this.#kept(pair, write) : null;
    const given =
      kept === null
        ? toBeGivenAgain(this.#givenTo(pair, write), next.view)
        : keptTemplate(kept, { ...canarySelector(there(pair.old), next.labels), ...next.selector });
    await this.#makeNext(pair, write, { size, given, kept, resumes: true });
  }

  /** What the release has noted on a Deployment of the new version that is gone; null where nothing has kept that. */
  #kept({ next }: PairView, write: TargetWrite): Promise<KeptNote | null> {
    return keptNote(this.#cluster, serviceRef(this.#plan.namespace, next.preview), write);
  }

  /** `Deployment … was gone, and was made again`, and of what. */
  async #describeMadeAgain(pair: PairView, write: TargetWrite): Promise<string> {
    const { old, next } = pair;
    const like = { namespace: this.#plan.namespace, name: old.name };
    return `Deployment ${this.#shown(next.name)} ${describeMadeAgain(await this.#kept(pair, write), like)}`;
  }

  /**
   * The new version on the idle colour, at a size; `given` is the template that the release has given it before, and `kept`
   * the note of one that is gone. One that somebody has paused rolls out by the same write where that `resumes` it. Answers what people should know about it,
   * or nothing.
   */
  async #makeNext(
    pair: PairView,
    write: TargetWrite,
    {
      size,
      given = null,
      kept = null,
      resumes = false,
    }: {
      readonly size: number;
      readonly given?: PodTemplate | null;
      readonly kept?: KeptNote | null;
      readonly resumes?: boolean;
    },
  ): Promise<string> {
    const { old, next, container, roles } = pair;
    const change = { container: container.name, image: imageOf(write) };
    const note = {
      version: write.version,
      plan: this.#plan,
      ...(roles === null ? {} : { roles }),
      ...(kept?.admitted === undefined ? admittedAgain(next.object, write, given) : { admitted: kept.admitted }),
    };
    const like = there(old);
    const made = trackDeployment(
      { ...like, labels: recolouredLabels(like.labels, next.colour) },
      (old.object?.['spec'] ?? {}) as Record<string, unknown>,
      {
        name: next.name,
        service: this.#plan.serviceName,
        release: write.fence.release,
        track: next.colour,
        labels: next.labels,
        // One that is made by an attempt that a later write has overtaken stays without pods.
        replicas: next.view === null ? 0 : size,
        fence: write.fence,
        ...change,
      },
    );
    const selecting = next.view === null ? made : withSelector(made, next.view.selector);
    const wanted = noting(rollingOut(selecting, resumes), note, given);
    const { object } = await ensure(this.#cluster, wanted, write, (live) =>
      noting(rollingOut(relabelled(adopted(live, { ...change, replicas: size }), next.labels), resumes), note, given),
    );
    const answered = { before: next.object, after: object, container: container.name };
    if (next.view !== null && given === null) await noteAdmitted(this.#cluster, answered, write);
    if (next.view === null) {
      // It is made whatever happened in between: it gets pods only if nobody later has come by now.
      refuseLate(await pair.active.observe({ signal: write.signal, fresh: true }), write, this.#plan);
      await resize(this.#cluster, this.#refOf(next), size, write, admittedNote(answered, write) ?? undefined);
    }
    const refs = { of: this.#refOf(next), on: serviceRef(this.#plan.namespace, next.preview) };
    await keepNote(this.#cluster, refs, write);
    return isMade(object) ? '' : differencesFrom(like, object, next);
  }

  #resizeNext({ next, container }: PairView, replicas: number, write: TargetWrite): Promise<void> {
    return resize(this.#cluster, this.#refOf(next), replicas, write, (live) => notingOwn(live, container.name, write));
  }

  /**
   * The pods a weight needs, there and available, before more is given: for all of the traffic as many as the old one has.
   * What somebody else had made of them, in sentences.
   *
   * @throws TargetFailure `invalidTarget` where they do not stay what was tested; `guardTripped` where an edit is to end the
   * release.
   */
  async #ensurePods(pair: PairView, write: WeightWrite & { previousWeight: number }): Promise<string[]> {
    const { old, next } = pair;
    const needed = replicasFor(write.weight, old.view?.replicas ?? 1);
    // Nobody looks while a person decides at weight 0.
    const edit = this.#editOfNext(pair, write);
    const isEdited = edit !== null;
    const given = this.#givenTo(pair, write);
    const shown = `Deployment ${this.#shown(next.name)}`;
    const edits: string[] = [];
    if (next.view !== null && this.#plan.onForeignEdit === 'rollback') {
      refuseUntested(next.view, given, { ends: true });
    } else if (next.view?.paused === true) {
      if (edit === null) await resume(this.#cluster, this.#refOf(next), write);
      edits.push(`${shown} was paused, and was resumed before that.`);
    }
    const anew = next.view === null ? await this.#describeMadeAgain(pair, write) : null;
    const put = async (): Promise<void> => {
      if (next.view === null || isEdited) {
        await this.#ensureNext(pair, write, Math.max(needed, next.view?.replicas ?? 0));
      } else if (next.view.replicas < needed) await this.#resizeNext(pair, needed, write);
    };
    const { signal } = write;
    const at = { namespace: this.#plan.namespace, name: next.name };
    const known = next.view !== null && !isEdited && next.view.replicas >= needed;
    const seen = known && next.view !== null && readinessOf(next.view, needed).kind === 'ready';
    const isReady = seen && (await isReadyNow(this.#cluster, at, { needed, signal }));
    const isRaised = isReady || (await this.#isRaised(pair, write));
    // What takes traffic from it waits for none of its pods.
    const failed = isRaised ? null : await failureInTheWayDown(put);
    if (!isReady && isRaised) {
      await put();
      const refuse = (view: DeploymentView): void => refuseUntested(view, given);
      const wait = { needed, complete: isEdited, timeoutMs: PODS_MS, signal, justChanged: isEdited };
      // A note that does not say the template may not say either what admission makes of the image.
      await waitUntilReady(this.#cluster, at, isEdited && given.template !== null ? { ...wait, refuse } : wait);
      if ((next.view?.availableReplicas ?? 0) === 0) await letGatewaysHear(this.#deps, this.#plan.traffic, signal);
    }
    const goesDown = write.weight < write.previousWeight || !pair.serving.includes(old);
    if (goesDown) refuseWithoutPods(there(old), 100 - write.weight);
    else await this.#refuseUntilFollowed(pair, write);
    if (edit !== null) {
      const again = `was given ${edit.given} again${isRaised ? ' before that' : ''}.`;
      const how = failed === null ? again : `could not be given ${edit.given} yet: ${failed}`;
      edits.push(`${shown} had ${edit.found}, and ${how}`);
    } else if (failed !== null) edits.push(`${shown} lacks pods: ${failed}`);
    else if (anew !== null) edits.push(`${anew} before that.`);
    return edits;
  }

  /** False where a write only takes traffic from the new version, or leaves it what it has. */
  async #isRaised(
    { old, serving, split }: PairView,
    write: WeightWrite & { previousWeight: number },
  ): Promise<boolean> {
    const { weight, previousWeight, match, signal } = write;
    if (weight > previousWeight) return true;
    // Whoever has all of it has more than any split.
    if (!serving.includes(old)) return false;
    // Somebody else may have taken more from it already.
    return split === null || isMore({ weight, match }, await split.observe({ signal }));
  }

  /** Of pods that may be newer than an outage; the old one's have been there all the time. */
  async #refuseUntilFollowed(
    { next, split }: PairView,
    { weight, previousWeight, match, signal }: WeightWrite & { previousWeight: number },
  ): Promise<void> {
    if ((this.#cluster.outages?.followedInMs() ?? 0) === 0) return;
    const routed = match.length === 0 ? 0 : ((await split?.observe({ signal }))?.match.length ?? 0);
    if (weight > previousWeight || match.length > routed) {
      refuseUntilFollowed(this.#cluster, { namespace: this.#plan.namespace, name: next.name });
    }
  }

  /**
   * The switch: one write, and read back. Then the split, which now only divides what goes to the same pods, is ended. A
   * switch that is not confirmed is taken back, unless it is an older one that was only asserted again.
   */
  async #switch(pair: PairView, write: WeightWrite & { previousWeight: number }): Promise<string> {
    const { active, split, old, next } = pair;
    const { fence, signal, previousWeight } = write;
    await active.apply({ document: ALL, fence, signal });
    const why = await this.#whyNotPointed(pair, ALL, signal);
    if (why !== null && previousWeight < 100) {
      await active.apply({ document: NONE, fence: { ...fence, attempt: fence.attempt + 1 }, signal });
      throw new TargetFailure('unreachable', `${why} It was pointed back to ${old.name}.`);
    }
    if (why !== null) throw new TargetFailure('unreachable', why);
    await split?.release({ fence, signal });
    return `Service ${this.#shown(this.#plan.service)} finds Deployment ${next.name}: all of the traffic, in one write, and it is in force.`;
  }

  /** Why the active Service does not find whom it was pointed to, a sentence; null where it does. */
  async #whyNotPointed(
    { active, old, next }: PairView,
    document: TrafficDocument,
    signal: AbortSignal,
  ): Promise<string | null> {
    const why = await confirm(active, { document, signal, timeoutMs: CONFIRM_MS });
    if (why === null) return null;
    const { name } = document.weight === ALL.weight ? next : old;
    return `Service ${this.#shown(this.#plan.service)} was pointed to Deployment ${name}, but that is not in force: ${why}`;
  }

  /** @throws TargetFailure `unreachable` where the Service does not find whom it was pointed to; it is left as it is. */
  async #ensurePointed(pair: PairView, document: TrafficDocument, signal: AbortSignal): Promise<void> {
    const why = await this.#whyNotPointed(pair, document, signal);
    if (why !== null) throw new TargetFailure('unreachable', why);
  }

  /** A part of the traffic, by who splits it; the Service finds the old one. */
  async #split(pair: PairView, write: WeightWrite & { previousWeight: number }): Promise<string> {
    const { active, split, next } = pair;
    const { fence, signal, weight, previousWeight } = write;
    const document = documentOf(write);
    if (split === null) {
      throw new TargetFailure(
        'unsupported',
        `A weight of ${weight} % cannot be reached: a Service selector sends everything to the one or the other.`,
      );
    }
    // Down from the switch: the split must be in force before the Service finds the old one, else all of it would.
    const switched = !pair.serving.includes(pair.old);
    if (!switched) await active.apply({ document: NONE, fence, signal });
    const notes = await shiftTraffic(split, {
      document,
      previous: { ...document, weight: switched ? 0 : previousWeight },
      fence,
      signal,
      timeoutMs: CONFIRM_MS,
    });
    if (switched) {
      await active.apply({ document: NONE, fence, signal });
      await this.#ensurePointed(pair, NONE, signal);
    }
    return [
      `The share of ${next.name} by ${this.#plan.traffic.kind} is ${weight} %, and it is in force.`,
      ...notes,
    ].join(' ');
  }

  /**
   * All traffic on the old one: first whoever carries it, in one write. Asked before it: is there anybody? Read back only
   * where it is no way back, of which the write is what counts.
   */
  async #takeBack(pair: PairView, write: WeightWrite & { back?: boolean }): Promise<string> {
    const { fence, signal } = write;
    const { old, next, active, split, roles } = pair;
    const { replicas, availableReplicas } = there(old);
    // A first version goes back to nobody, as it was.
    const hadNone = roles?.replicas === 0;
    // Somebody has scaled it to 0: it needs its pods back first, as long as the other side serves; and before the Service
    // is pointed to it in any case, also where the other side is gone.
    const isAsked = !pair.serving.includes(old) || (next.view?.availableReplicas ?? 0) > 0;
    const scaledDown = replicas === 0 && isAsked && !hadNone;
    if (scaledDown) await resize(this.#cluster, this.#refOf(old), Math.max(1, next.view?.replicas ?? 1), write);
    if (scaledDown || (availableReplicas === 0 && replicas > 0)) {
      throw new TargetFailure(
        'unreachable',
        `Deployment ${this.#shown(old.name)} has no available pod, so the traffic stays where it is until it has one.`,
      );
    }
    if (roles === null) await this.#endLeftSplit(pair, write);
    const none: Pick<Applied, 'gone' | 'notes'> = { gone: [], notes: [] };
    const point = async (): Promise<Pick<Applied, 'gone' | 'notes'>> => {
      if (write.idle === undefined) return active.apply({ document: NONE, fence, signal });
      await this.#holdIdle(pair, write);
      return none;
    };
    const puts = [point];
    if (split !== null) puts.push(() => split.apply({ document: NONE, fence, signal, mayBeGone: true }));
    let met = '';
    const isSwitched = !pair.serving.includes(old);
    for (const put of isSwitched ? puts : puts.reverse()) met += describeMet(await put());
    // Its autoscaler may have shrunk it while the other side had the traffic, whose size is what that takes. Of a clean-up
    // the old one had the traffic all along.
    const needed = hadNone || roles === null ? 0 : (next.view?.replicas ?? 0);
    if (isSwitched && !hadNone) await this.#keepPods(old, Math.max(1, needed), write);
    else if (replicas < needed) await grow(this.#cluster, this.#refOf(old), needed, write);
    const edited = await this.#giveOldItsImage(pair, write);
    const rest = `${edited === null ? '' : ` ${edited}`}${met}`;
    const service = `Service ${this.#shown(this.#plan.service)}`;
    if (write.back === true) {
      return `${service} is pointed to Deployment ${old.name}, and ${next.name} is given no share of the traffic; both are read back before its pods are taken away.${rest}`;
    }
    await this.#ensurePointed(pair, NONE, signal);
    const asked = { document: NONE, signal, timeoutMs: CONFIRM_MS, mayBeGone: true };
    if (split !== null) await ensureInForce(split, asked);
    return `${service} finds Deployment ${old.name}, and ${next.name} has no share of the traffic.${rest}`;
  }

  /**
   * The end of the time that the old one is kept may have its removal under way: what comes late is refused from here on,
   * and pods that it took a moment ago are given back.
   */
  async #keepPods(side: Side, atLeast: number, write: WorkloadWrite): Promise<void> {
    await rewrite(this.#cluster, this.#refOf(side), write, (live) => {
      const replicas = Math.max(atLeast, readDeployment(live).replicas);
      return withFence({ ...live, spec: { ...(live['spec'] as object), replicas } }, write.fence);
    });
  }

  /**
   * Why traffic that somebody else has moved is not put back yet: whoever takes the pods away along with it (a sync that
   * knows nothing of the release does both at once) would have users sent to nobody. The next look puts it back.
   */
  #withoutPods({ old, next }: PairView, weight: number): string | null {
    const parts = [
      { side: next, share: weight },
      { side: old, share: 100 - weight },
    ];
    const { namespace } = this.#plan;
    for (const { side, share } of parts) {
      // No more than are asked for: each colour may have an autoscaler of its own.
      const asked = Math.max(1, side.view?.replicas ?? 0);
      const needed = share === 0 ? 0 : Math.min(asked, replicasFor(share, old.view?.replicas ?? 1));
      const lacking = lacksPods({ namespace, name: side.name, view: side.view }, { share, needed });
      if (lacking !== null) return `The traffic stays where it is until ${lacking}.`;
    }
    return null;
  }

  /** What somebody else did to the two Deployments: told, and put right. */
  async #putWorkloadsRight(pair: PairView, write: WeightWrite): Promise<string[]> {
    const { old, next, roles } = pair;
    const edits: string[] = [];
    const shown = (side: Side): string => `Deployment ${this.#shown(side.name)}`;
    const size = Math.max(1, old.view?.replicas ?? 1);
    const edit = this.#editOfNext(pair, write);
    if (next.view?.paused === true) {
      edits.push(`${shown(next)} was paused, and was resumed.`);
      if (edit === null) await resume(this.#cluster, this.#refOf(next), write);
    }
    if (next.view === null) {
      edits.push(`${await this.#describeMadeAgain(pair, write)}.`);
      if (old.view !== null) await this.#ensureNext(pair, write, size);
    } else if (edit !== null) {
      edits.push(`${shown(next)} had ${edit.found}, and was given ${edit.given} again.`);
      await this.#ensureNext(pair, write, Math.max(size, next.view.replicas));
    } else if (next.view.replicas === 0) {
      edits.push(`${shown(next)} was scaled to 0, and was given its pods again.`);
      await this.#resizeNext(pair, size, write);
    }
    if (old.view === null) return [...edits, `${shown(old)} is gone: there is no way back to its version.`];
    const before = await this.#giveOldItsImage(pair, write);
    if (before !== null) edits.push(before);
    // Its autoscaler may shrink it while it has no traffic; without any pods it would be no way back.
    if (old.view.replicas === 0 && roles?.replicas !== 0) {
      edits.push(`${shown(old)} was scaled to 0, and was given its pods again.`);
      await resize(this.#cluster, this.#refOf(old), Math.max(1, next.view?.replicas ?? 1), write);
    }
    return edits;
  }

  /** Where a gateway sends the share: a Service that is gone, or finds other pods, would lose it. Told, and put right. */
  async #putPreviewRight(pair: PairView, write: WeightWrite): Promise<string[]> {
    const { next } = pair;
    const edit = await editOfService(this.#cluster, serviceRef(this.#plan.namespace, next.preview), {
      wanted: next.selector,
      isRight: (selector) => describe(selector) === describe(next.selector),
      signal: write.signal,
    });
    if (edit === null) return [];
    await this.#ensurePreview(pair, next, write);
    return [edit];
  }

  async #giveImage(side: Side, change: { container: string; image: string }, write: WorkloadWrite): Promise<void> {
    await rewrite(this.#cluster, this.#refOf(side), write, (live) => {
      const { template } = live['spec'] as { template: Record<string, unknown> };
      return { ...live, spec: { ...(live['spec'] as object), template: withImage(template, change) } };
    });
  }

  /** The sentence of the new version's pods when they fail while they have traffic; null otherwise. */
  async #failureOfNext({ old, next }: PairView, { weight, signal }: WeightWrite): Promise<string | null> {
    if (next.view === null) return null;
    const share = weight === 100 ? next.view.replicas : replicasFor(weight, old.view?.replicas ?? 1);
    const needed = Math.min(share, next.view.replicas);
    if (next.view.availableReplicas >= needed) return null;
    return failureOfPods(this.#cluster, { namespace: this.#plan.namespace, name: next.name }, { needed, signal });
  }

  /** Which side may lose its pods: the one that the active Service does not find. */
  #idleOf({ old, next, serving, service }: PairView): Side {
    const [only, second] = serving;
    if (only !== undefined && second === undefined) return only === old ? next : old;
    const { selector = {} } = service['spec'] as { selector?: Readonly<Record<string, string>> };
    throw new TargetFailure(
      'unreachable',
      `Service ${this.#shown(this.#plan.service)} selects ${describe(selector) || 'nothing'}, which is not the pods of either ${old.name} or ${next.name} alone, so none are taken away; point it to one of them.`,
    );
  }

  /**
   * Nobody looks before the first weight, and while the old version is kept. A Service that somebody has pointed to the new
   * one without the release is pointed back first: it is not to end as taken back with the new one in its place. Where the
   * release had switched, somebody's way back is as good as its own, and is told.
   */
  async #pointedBack(pair: PairView, write: TargetWrite): Promise<{ readonly pair: PairView; readonly moved: string }> {
    const { active, service, old, next, serving, roles } = pair;
    const held = heldOn(service);
    const left = held?.document.weight === ALL.weight ? next : old;
    if (held === null || serving.includes(left)) return { pair, moved: '' };
    const { foreignEdits } = await active.observe({ signal: write.signal });
    const moved = [` Somebody else has pointed the Service away from ${left.name} since.`, ...foreignEdits].join(' ');
    if (left !== old || roles === null || serving.length !== 1) return { pair, moved };
    await this.#takeBack(pair, { ...write, weight: 0, match: [], back: true });
    return {
      pair: await this.#look(write, { asked: true }),
      moved: `${moved} It was pointed back to ${old.name} first.`,
    };
  }

  /** @throws TargetFailure `unreachable` where the side that has all of the traffic is asked for no pods, and the other has some. */
  #refuseToStrand({ old, next, roles }: PairView, idle: Side): void {
    const kept = idle === next ? old : next;
    const isNew = kept === old && roles?.replicas === 0;
    if (isNew || (kept.view !== null && kept.view.replicas > 0) || (idle.view?.availableReplicas ?? 0) === 0) return;
    throw new TargetFailure(
      'unreachable',
      `Deployment ${this.#shown(kept.name)} has all of the traffic, and ${kept.view === null ? 'is gone' : 'is asked for no pods'}, so the pods of ${idle.name} stay until it has some.`,
    );
  }

  /** The Service last: by what is noted on it an attempt after this one knows the parts. */
  async #letGo({ old, next }: PairView, write: TargetWrite): Promise<void> {
    const { namespace, service } = this.#plan;
    for (const side of [old, next]) {
      await letGo(this.#cluster, this.#refOf(side), write);
      await giveBack(this.#cluster, serviceRef(namespace, side.preview), write);
    }
    const ref = serviceRef(namespace, service);
    await rewrite(this.#cluster, ref, write, (live) => withoutRoles(withHeld(live, write.fence, null)));
    await disown(this.#cluster, ref, write);
  }
}

/** As they are at the beginning of a release. */
function rolesFor({ old, next, container }: PairView, { fence }: TargetWrite): Roles {
  return {
    release: fence.release,
    old: old.colour,
    next: next.colour,
    selectors: { old: { ...old.selector }, next: { ...next.selector } },
    image: container.image,
    settings: settingsDigest(there(old).template, container.name),
    replicas: there(old).replicas,
  };
}

/**
 * A clean-up is about a colour without users: of which the Service does not find any pods.
 *
 * @throws TargetFailure `notIdle`.
 */
function refuseUnlessIdle(service: KubernetesObject, { old, next }: PairView, { idle }: TargetWrite): void {
  if (idle === undefined) return;
  const { selector = {} } = (service['spec'] ?? {}) as { selector?: Readonly<Record<string, string>> };
  const [asked, other] = old.colour === idle ? [old, next] : [next, old];
  if (!selects(selector, asked.view?.templateLabels ?? asked.selector)) return;
  const { namespace = '', name } = service.metadata;
  throw new TargetFailure(
    'notIdle',
    `Service ${namespace}/${name} finds the pods of Deployment ${asked.name} by now, so ${idle} is not idle any more and keeps its pods; clean up ${other.colour} instead, or switch back first.`,
  );
}

function documentOf({ weight, match }: WeightWrite): TrafficDocument {
  return { weight, match };
}

/** @throws TargetFailure `unreachable` for a Deployment that somebody has removed. */
function there({ view, name }: Side): DeploymentView {
  if (view !== null) return view;
  throw new TargetFailure('unreachable', `Deployment ${name} is gone; the traffic stays where it is.`);
}

function labelsOn({ next }: PairView, side: Side): Readonly<Record<string, string>> {
  return side === next ? next.labels : { ...side.view?.templateLabels, ...side.selector };
}

/** How the metrics of either side are told apart; pods without a track are those of a stable one. */
function tracksOf({ old, next }: PairView): { canary: string; stable: string } {
  const of = (labels: Readonly<Record<string, string>> | undefined): string => labels?.[TRACK_LABEL] ?? 'stable';
  return { canary: of(next.labels), stable: of(old.view?.templateLabels) };
}

function withSelector(object: KubernetesObject, matchLabels: Readonly<Record<string, string>>): KubernetesObject {
  return { ...object, spec: { ...(object['spec'] as object), selector: { matchLabels } } };
}

/** With the labels on its pods by which metrics are told apart, and the Service may find them. */
function relabelled(object: KubernetesObject, labels: Readonly<Record<string, string>>): KubernetesObject {
  const spec = object['spec'] as { template: Record<string, unknown> };
  const metadata = spec.template['metadata'] as { labels?: Readonly<Record<string, string>> } | undefined;
  return {
    ...object,
    spec: {
      ...spec,
      template: {
        ...spec.template,
        metadata: { ...metadata, labels: { ...metadata?.labels, ...pick(labels, [SERVICE_LABEL, TRACK_LABEL]) } },
      },
    },
  };
}

function pick(labels: Readonly<Record<string, string>>, keys: readonly string[]): Record<string, string> {
  return Object.fromEntries(keys.flatMap((key) => (labels[key] === undefined ? [] : [[key, labels[key]]])));
}

/**
 * A Deployment of the user's own keeps its template. Where that is not the active one's, the new version runs with other
 * settings than the old one, and people should know.
 */
function differencesFrom(active: DeploymentView, object: KubernetesObject, { name }: Pick<Side, 'name'>): string {
  const { template } = object['spec'] as { template: Readonly<Record<string, unknown>> };
  const places = diff(settingsOf(active.template), settingsOf(template)).map(({ path }) => path.slice(1));
  if (places.length === 0) return '';
  return ` The pods of ${name} are made by its own template, which differs from that of ${active.name}${describePlaces(places)}.`;
}

/** Of a template, what is not its image. */
function settingsOf(template: Readonly<Record<string, unknown>>): unknown {
  const spec = template['spec'] as { containers: readonly object[] };
  return { ...spec, containers: spec.containers.map((container) => ({ ...container, image: '' })) };
}
