import path from 'node:path';
import { takeProcessLock } from '../devserver/process-lock';
import type { LockAttempt } from '../devserver/process-lock';
import { messageOf, ReleaseError } from '../errors';
import { devStateDirectory, findDev } from './dev-state';
import type { DevConnection } from './dev-state';

/** The file in the state folder that holds everything Temporal knows. */
export const DATABASE = 'temporal.db';

/**
 * Makes this the only `sluice dev` of this user, and the only one over its state folder, which may be another user's
 * too: two servers over one database would end on an error of SQLite's.
 *
 * @returns what gives both up
 * @throws ReleaseError `conflict` when another process has one of them, `usage` when the folder cannot be used
 */
export async function takeDevLocks(env: NodeJS.ProcessEnv, state: string): Promise<() => Promise<void>> {
  const ofUser = await attempt(path.join(devStateDirectory(env), 'dev.lock'));
  if (!ofUser.taken) throw runningAlready(ofUser.holder, await findDev(env));
  let ofState: LockAttempt;
  try {
    // One of a Sluice from before there was the lock.
    const running = await findDev(env);
    if (running !== null) throw runningAlready(running.pid, running);
    ofState = await attempt(path.join(state, `${DATABASE}.lock`));
    if (!ofState.taken) throw inUse(state, ofState.holder);
  } catch (error) {
    await ofUser.release();
    throw error;
  }
  const { release } = ofState;
  return async () => {
    await release();
    await ofUser.release();
  };
}

async function attempt(lock: string): Promise<LockAttempt> {
  try {
    return await takeProcessLock(lock);
  } catch (error) {
    throw new ReleaseError('usage', `The state folder ${path.dirname(lock)} cannot be used: ${messageOf(error)}.`, {
      hint: 'Name a folder of yours that can be written to, or can be made: --state DIRECTORY.',
      cause: error,
    });
  }
}

function runningAlready(holder: number, running: DevConnection | null): ReleaseError {
  const where = running === null ? ', about to start or to stop' : `, Temporal at ${running.address}`;
  return new ReleaseError('conflict', `\`sluice dev\` is running already (process ${holder}${where}).`, {
    hint: 'Use it as it is, or stop it with Ctrl-C where it runs.',
  });
}

function inUse(state: string, holder: number): ReleaseError {
  return new ReleaseError(
    'conflict',
    `The state in ${state} is in use by another \`sluice dev\` (process ${holder}).`,
    {
      hint: 'Use that one, stop it with Ctrl-C where it runs, or choose another folder: --state DIRECTORY.',
    },
  );
}
