import { ReleaseError } from '../../src/errors';
import type { ComponentName } from './layout';
import { stopComponent } from './processes';
import { readState } from './state';
import type { LabState } from './state';
import { startAgain } from './up';

/** Ends one of the running lab's programs and returns when it is gone: an outage for a test. */
export async function stopPart(name: ComponentName): Promise<void> {
  await stopComponent(runningLab(), name);
}

/** Starts it again, with its data and its address as before, and returns when it is ready. */
export async function startPart(name: ComponentName): Promise<void> {
  await startAgain(runningLab(), name);
}

function runningLab(): LabState {
  const state = readState();
  if (state !== undefined) return state;
  throw new ReleaseError('not-found', 'No lab runs on this machine.', { hint: 'scripts/lab up starts one.' });
}
