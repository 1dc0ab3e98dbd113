import type { ServiceRef, SluiceClient } from '../client/client-types';
import type { Actor, MessageAck, MessageBase, ReleaseStatus } from '../workflows/api';
import { ReleaseError } from '../errors';
import { confirm, confirmQuestion, requireConfirmable } from './confirm';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { API_VERSION } from './output';
import { refName, resolveServiceRef } from './service-ref';
import type { Session } from './session';
import { glyphs, paint } from './style';
import type { Look } from './style';
import { requireOurs } from './workers';

/** What the commands that tell a release something have in common. */
export interface ActOptions {
  readonly release?: string;
  readonly reason?: string;
  readonly yes?: boolean;
}

export interface Act {
  /** The question of a command that asks first, of the service by its name. Left out where it does not ask. */
  readonly ask?: (name: string, status: ReleaseStatus) => string;
  /** The same of a release that only waits in the queue, where the command has a meaning for one. */
  readonly askQueued?: (name: string) => string;
  send(client: SluiceClient, ref: ServiceRef, message: MessageBase): Promise<MessageAck>;
}

/** Resolves the service, asks where that is due, sends one message and prints what was recorded. */
export async function act(session: Session, service: string, options: ActOptions, what: Act): Promise<ExitCode> {
  return actOn(session, await resolveServiceRef(service, session.cli.spec, options.release), options, what);
}

/** The same for a service that is known already, with the release that was asked for. */
export async function actOn(session: Session, ref: ServiceRef, options: ActOptions, what: Act): Promise<ExitCode> {
  const { cli } = session;
  if (what.ask !== undefined) requireConfirmable(cli, options.yes === true);
  const client = await session.client();
  await requireOurs(session, client);
  let release = options.release;
  if (what.ask !== undefined && options.yes !== true) {
    const shown = await questionFor(client, ref, { ...what, ask: what.ask, look: session.noteLook });
    const answer = await confirm(cli, shown.question, false);
    if (answer !== 'yes') {
      session.warn('Nothing was done.');
      return answer === 'interrupted' ? EXIT.interrupted : EXIT.error;
    }
    // What was shown is what is meant: if another release has taken its place, the message is refused.
    release = shown.release;
  }
  const actor = session.actor();
  const message: MessageBase = {
    actor,
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(release === undefined ? {} : { release }),
  };
  const ack = await what.send(client, ref, message).catch((error: unknown) => {
    throw sayingWho(error, actor);
  });
  if (ack.simulated === true) session.markSimulated();
  const document = { apiVersion: API_VERSION, kind: 'MessageAck', ...plainRef(ref), ...ack };
  session.result(document, () => [`${paint(glyphs(session.look).ok, 'good', session.look)} ${safeText(ack.message)}`]);
  return EXIT.ok;
}

/** Who is refused by a release may be allowed under the name or the groups that were not said. */
function sayingWho(error: unknown, { name, groups = [] }: Actor): unknown {
  // A refusal of Temporal's own has a hint: it is about the connection, and no name helps.
  if (!(error instanceof ReleaseError) || error.code !== 'forbidden' || error.hint !== undefined) return error;
  const known = groups.length === 0 ? 'in no group' : `in the groups ${groups.join(', ')}`;
  return new ReleaseError(error.code, error.message, {
    hint: `You act as ${name}, ${known}. Say your groups with SLUICE_GROUPS=a,b and your name with --as NAME or SLUICE_ACTOR.`,
    cause: error,
  });
}

/** What is asked, and about which release. */
async function questionFor(
  client: SluiceClient,
  ref: ServiceRef,
  { ask, askQueued, look }: Pick<Act, 'askQueued'> & { readonly ask: NonNullable<Act['ask']>; readonly look: Look },
): Promise<{ question: string; release: string }> {
  try {
    const status = await client.status(ref);
    return { question: confirmQuestion(ask(safeText(refName(status)), status), status, look), release: status.release };
  } catch (error) {
    const queued = error instanceof ReleaseError && error.code === 'queued';
    if (!queued || ref.release === undefined || askQueued === undefined) throw error;
    const question = `${askQueued(refName(ref))}\n  release ${safeText(ref.release)}, which has not begun`;
    return { question, release: ref.release };
  }
}

function plainRef({ namespace, service }: ServiceRef): { namespace: string; service: string } {
  return { namespace, service };
}
