import type { ReleaseStatus } from '../workflows/api';
import { renderFrame } from './live-view';
import type { FrameOptions } from './live-view';
import type { Look } from './style';

/** A release as `status` prints it: one frame. */
export function summaryLines(
  status: ReleaseStatus,
  look: Look,
  { now, goneBack = false }: Pick<FrameOptions, 'now' | 'goneBack'>,
): string[] {
  return renderFrame(status, { ...look, now, goneBack });
}
