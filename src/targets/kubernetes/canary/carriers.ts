import type { KubernetesTargetPlan } from '../../../spec/plan-types';
import { TrafficFailure } from '../../../traffic/traffic-router';
import type { TrafficDocument } from '../../../traffic/traffic-router';
import { TargetFailure } from '../../target';
import type { TargetWrite, WeightWrite } from '../../target';
import type { Cluster } from '../cluster';
import { lacksPods, refuseUntilFollowed } from '../track-checks';
import { replicasFor } from '../tracks';
import { isBeingPromoted, isHalfPromoted, isPromoted } from '../workloads';
import { notedStable } from './noted-stable';
import { sharesByReplicas } from './settings';
import type { TracksView } from './tracks-view';

/** Traffic that only the canary can carry. */
export interface Carried {
  readonly document: TrafficDocument;
  /** Why, and what to do, a sentence. */
  readonly why: string;
}

/** Who can carry the traffic: what is asked before any of it is moved. It writes nothing. */
export class Carriers {
  readonly #plan: KubernetesTargetPlan;
  readonly #cluster: Cluster;

  constructor(plan: KubernetesTargetPlan, cluster: Cluster) {
    this.#plan = plan;
    this.#cluster = cluster;
  }

  /**
   * What is routed to a canary that serves while stable has nobody to serve with, or not all of the pods that a promotion
   * (of whichever release) is making anew: all traffic on stable would be an outage. Null otherwise, which asks nothing
   * as long as stable has its pods. Where pods are the share, the canary's go only as stable's come.
   */
  async alone(tracks: TracksView, signal: AbortSignal): Promise<Carried | null> {
    const { stable, canary, canaryName } = tracks;
    if (sharesByReplicas(this.#plan) || (canary?.availableReplicas ?? 0) === 0) return null;
    const isMadeAnew = isHalfPromoted(tracks.stableObject);
    const needed = isMadeAnew ? Math.max(1, stable.replicas) : 1;
    const isKnown = !isMadeAnew || stable.observedGeneration >= stable.generation;
    const available = isKnown ? stable.availableReplicas : 0;
    if (available >= needed) return null;
    const routed = await tracks.traffic.observe({ signal }).catch((error: unknown) => {
      // With nothing to route by, the canary carries nothing.
      if (error instanceof TrafficFailure && error.kind === 'missing') return null;
      throw error;
    });
    if (routed === null) return null;
    const document = { weight: Math.round(routed.weight ?? 0), match: routed.match };
    if (document.weight === 0) return null;
    const { namespace } = this.#plan;
    const why = `Deployment ${namespace}/${stable.name} has ${available} of the ${Math.max(needed, stable.replicas)} available pods that all of the traffic needs, so the traffic stays on Deployment ${namespace}/${canaryName} (${document.weight} %); make that the stable one with sluice promote -f release.yaml, or give stable its pods first.`;
    return { document, why };
  }

  /**
   * Of a canary that was taken over with its traffic: what it had before, as long as stable still cannot take that. Nobody
   * brings the pods that stable lacked when this release began, so that is how it was before. What a promotion is about to
   * hand back is waited for.
   */
  async fromBefore(tracks: TracksView, { fence, signal }: TargetWrite): Promise<Carried | null> {
    const isTakenOver = notedStable(tracks, { fence })?.carried === true;
    if (!isTakenOver || isPromoted(tracks.stableObject, fence.release)) return null;
    return this.alone(tracks, signal);
  }

  /** Of pods that may be newer than an outage: the canary's on the way up, and stable's that a promotion has made. */
  async refuseUntilFollowed(tracks: TracksView, write: WeightWrite & { previousWeight: number }): Promise<void> {
    const { weight, previousWeight, match, signal } = write;
    // Where pods are the share there is no write that a gateway could know before them.
    if (sharesByReplicas(this.#plan) || (this.#cluster.outages?.followedInMs() ?? 0) === 0) return;
    const canary = { namespace: this.#plan.namespace, name: tracks.canaryName };
    if (weight > previousWeight) refuseUntilFollowed(this.#cluster, canary);
    if (weight < previousWeight && isBeingPromoted(tracks.stableObject, write.fence.release)) {
      refuseUntilFollowed(this.#cluster, tracks.stable);
    }
    const routed = (await tracks.traffic.observe({ signal })).match;
    if (match.length > routed.length) refuseUntilFollowed(this.#cluster, canary);
  }

  /**
   * Why traffic that somebody else has moved is not put back yet: whoever takes the pods away along with it (a sync that
   * knows nothing of the release does both at once) would have users sent to nobody. The next look puts it back.
   */
  withoutPods({ stable, canary, canaryName }: TracksView, { from, to }: { from: number; to: number }): string | null {
    if (sharesByReplicas(this.#plan) || from === to) return null;
    const { namespace } = this.#plan;
    const up = to > from;
    const side = up ? { namespace, name: canaryName, view: canary } : { namespace, name: stable.name, view: stable };
    const share = up ? to : 100 - to;
    const lacking = lacksPods(side, { share, needed: replicasFor(share, stable.replicas) });
    return lacking === null ? null : `The traffic is at ${from} % and stays there until ${lacking}.`;
  }

  /** Without pods, stable would be no way back. It has none of its own accord where it never had, and where they are the share. */
  isScaledDown(tracks: TracksView, write: TargetWrite): boolean {
    if (sharesByReplicas(this.#plan) || tracks.stable.replicas > 0) return false;
    return (notedStable(tracks, write)?.replicas ?? 0) > 0;
  }
}

export function describeLeft({ why }: Carried): string {
  return `The canary is left as it was before this release: ${why}`;
}

/** @throws TargetFailure `unreachable` while the canary, which alone serves when stable is made anew, lacks pods. */
export function refuseWithoutCanaryPods({ stable, canary, canaryName }: TracksView, size: number): void {
  const asked = Math.min(canary?.replicas ?? 0, Math.max(1, size));
  const isSeen = canary !== null && canary.observedGeneration >= canary.generation;
  const available = isSeen ? canary.availableReplicas : 0;
  if (asked > 0 && available >= asked) return;
  throw new TargetFailure(
    'unreachable',
    `Deployment ${stable.namespace}/${canaryName} has ${available} of the ${asked} available pods that all of the traffic needs, and it alone serves while stable is made anew; Deployment ${stable.namespace}/${stable.name} stays as it is until they are there.`,
  );
}
