import { sleep } from '@temporalio/workflow';
import { release as unchanged } from '../../../src/workflows/release';
import type { ReleaseInput, ReleaseResult } from '../../../src/workflows/api';

export { releaseQueue } from '../../../src/workflows/release-queue';

/** The release with a wait in front: a change that releases in progress could not survive. */
export async function release(input: ReleaseInput): Promise<ReleaseResult> {
  await sleep('1s');
  return unchanged(input);
}
