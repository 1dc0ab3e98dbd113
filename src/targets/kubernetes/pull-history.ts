import type { PodView } from './pod-view';

/**
 * What was seen of each container's pulls, by `pod/container`: the kubelet tries again and again, and a single look
 * cannot tell the first try from the fifth.
 */
export type PullHistory = ReadonlyMap<string, PullRecord>;

interface PullRecord {
  /** How often it was seen to begin to back off: one for each failed pull, or fewer. */
  readonly backOffs: number;
  readonly backingOff: boolean;
  /** Why the last pull failed, in the kubelet's words. */
  readonly words: string;
}

export const NO_PULLS: PullHistory = new Map();

/** The history with one more look at the pods; those that are gone, or have run, are forgotten. */
export function notePulls(history: PullHistory, pods: readonly PodView[]): PullHistory {
  const next = new Map<string, PullRecord>();
  for (const pod of pods) {
    for (const { name, state } of pod.containers) {
      const { reason = '', message = '' } = state?.waiting ?? {};
      const key = `${pod.name}/${name}`;
      const known = history.get(key);
      const failing = reason === 'ErrImagePull' || reason === 'ImagePullBackOff';
      const waits = (state?.running ?? null) === null && (state?.terminated ?? null) === null;
      if (!failing && (known === undefined || !waits)) continue;
      const past = known ?? { backOffs: 0, backingOff: false, words: '' };
      const backingOff = reason === 'ImagePullBackOff';
      next.set(key, {
        backingOff,
        backOffs: past.backOffs + (backingOff && !past.backingOff ? 1 : 0),
        words: saysWhy(reason, message) ? message : past.words,
      });
    }
  }
  return next;
}

/** `Back-off pulling image "x"` alone says nothing; newer kubelets add the error. */
function saysWhy(reason: string, message: string): boolean {
  return reason === 'ErrImagePull' ? message !== '' : /^Back-off pulling image "[^"]*": ./.test(message);
}
