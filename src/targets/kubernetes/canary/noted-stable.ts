import { fenceOn } from '../../../traffic/fence';
import type { TargetWrite } from '../../target';
import { settingsDigest } from '../given-pods';
import { targetNoteOn } from '../target-note';
import type { NotedStable } from '../target-note';
import type { TracksView } from './tracks-view';

/**
 * The pods that all of the traffic takes: as many as stable is asked to have now, and as it was at the beginning. Its
 * autoscaler takes pods away as the canary takes traffic from it, and the traffic has not become less by that.
 */
export function sizeOf(tracks: TracksView, write: TargetWrite): number {
  return Math.max(tracks.stable.replicas, notedStable(tracks, write)?.replicas ?? 0);
}

/** Stable as it was when this release made its canary; null before, and for a canary of another release. */
export function notedStable(
  { canaryObject }: Pick<TracksView, 'canaryObject'>,
  { fence }: Pick<TargetWrite, 'fence'>,
): NotedStable | null {
  if (canaryObject === null || fenceOn(canaryObject)?.release !== fence.release) return null;
  return targetNoteOn(canaryObject)?.stable ?? null;
}

/** Stable as it is now; of a canary that is taken over with its traffic also how many pods stable had before that. */
export function notedAnew({ stable, container, canaryObject }: TracksView, carries: boolean): NotedStable {
  const was = { image: container.image, settings: settingsDigest(stable.template, container.name) };
  if (!carries) return { ...was, replicas: stable.replicas };
  const before = canaryObject === null ? 0 : (targetNoteOn(canaryObject)?.stable?.replicas ?? 0);
  return { ...was, replicas: Math.max(stable.replicas, before), carried: true };
}

/** True for a canary that had its traffic before this release, or has never been this one's. */
export function isAnothers(tracks: TracksView, write: TargetWrite): boolean {
  const { canaryObject } = tracks;
  if (canaryObject === null) return false;
  return fenceOn(canaryObject)?.release !== write.fence.release || notedStable(tracks, write)?.carried === true;
}
