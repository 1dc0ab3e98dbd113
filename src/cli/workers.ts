import type { SluiceClient } from '../client/client-types';
import { messageOf } from '../errors';
import { lazy } from './lazy';
import type { Session } from './session';

/**
 * Says at once, on stderr, when nobody polls the task queue: without a worker nothing moves, and a command that just
 * waited would look broken. What it cannot find out it leaves to the command itself.
 */
export function warnWithoutWorker(session: Session, client: SluiceClient): Promise<void> {
  return lookForWorker(session, client, false);
}

/**
 * The same before something is written.
 *
 * @throws ReleaseError `no-worker` where this is most likely another program's Temporal.
 */
export function requireOurs(session: Session, client: SluiceClient): Promise<void> {
  return lookForWorker(session, client, true);
}

async function lookForWorker(session: Session, client: SluiceClient, writes: boolean): Promise<void> {
  let stranger = false;
  try {
    if ((await client.workers()).length > 0) return;
    if (writes) stranger = await client.isStranger();
  } catch (error) {
    if (session.verbose) session.warn(`Whether a worker runs could not be found out: ${messageOf(error)}`);
    return;
  }
  if (stranger) throw lazy.clientError().strangersTemporal(client.where);
  session.warn(
    `No worker is running at ${client.where}: nothing moves until one is. Start one with \`sluice worker\` or \`sluice dev\`.`,
  );
}
