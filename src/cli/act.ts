import type { ServiceRef, SluiceClient } from '../client/client-types';
import type { MessageAck, MessageBase, ReleaseStatus } from '../workflows/api';
import { confirm, confirmQuestion, requireConfirmable } from './confirm';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { API_VERSION } from './output';
import { resolveServiceRef } from './service-ref';
import type { Session } from './session';
import { glyphs, paint } from './style';
import { warnWithoutWorker } from './workers';

/** What the commands that tell a release something have in common. */
export interface ActOptions {
  readonly release?: string;
  readonly reason?: string;
  readonly yes?: boolean;
}

export interface Act {
  /** Begins the question of a command that asks first: `Roll back`. Left out where it does not ask. */
  readonly ask?: (status: ReleaseStatus) => string;
  send(client: SluiceClient, ref: ServiceRef, message: MessageBase): Promise<MessageAck>;
}

/** Resolves the service, asks where that is due, sends one message and prints what was recorded. */
export async function act(session: Session, service: string, options: ActOptions, what: Act): Promise<ExitCode> {
  const { cli } = session;
  if (what.ask !== undefined) requireConfirmable(cli, options.yes === true);
  const ref = await resolveServiceRef(service, cli.spec, options.release);
  const client = await session.client();
  await warnWithoutWorker(session, client);
  let release = options.release;
  if (what.ask !== undefined && options.yes !== true) {
    const status = await client.status(ref);
    const answer = await confirm(cli, confirmQuestion(what.ask(status), status), false);
    if (answer !== 'yes') {
      session.warn('Nothing was done.');
      return answer === 'interrupted' ? EXIT.interrupted : EXIT.error;
    }
    // What was shown is what is meant: if another release has taken its place, the message is refused.
    release = status.release;
  }
  const ack = await what.send(client, ref, {
    actor: session.actor(),
    ...(options.reason === undefined ? {} : { reason: options.reason }),
    ...(release === undefined ? {} : { release }),
  });
  const document = { apiVersion: API_VERSION, kind: 'MessageAck', ...plainRef(ref), ...ack };
  session.result(document, () => [`${paint(glyphs(session.look).ok, 'good', session.look)} ${safeText(ack.message)}`]);
  return EXIT.ok;
}

function plainRef({ namespace, service }: ServiceRef): { namespace: string; service: string } {
  return { namespace, service };
}
