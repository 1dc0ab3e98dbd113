import type { MessageOptions, ServiceRef, SluiceClient } from '../client/client-types';
import { may } from '../flags/access';
import type { Principal, ReleaseRole } from '../flags/access';
import type { Answer, Asked } from '../flags/server/endpoint';
import type { MessageAck, MessageBase } from '../workflows/api';
import { actorOf, requireReleaseRole, requireTargetRole } from './release-access';
import { repeatKeyOf } from './repeats';
import { serviceOf } from './service-of';
import type { TemporalLink } from './temporal-link';

/** What the bodies of all messages have. */
interface MessageBody {
  readonly reason?: string | undefined;
  readonly release?: string | undefined;
}

export interface Telling {
  /** Write when left out. */
  readonly role?: ReleaseRole;
  /** More users may get the new version by it. */
  readonly raises?: boolean;
  readonly send: (
    client: SluiceClient,
    what: { readonly ref: ServiceRef; readonly content: MessageBase; readonly options: MessageOptions },
  ) => Promise<MessageAck>;
}

/** Hands a message to the release of a service, in the name of who asks. */
export async function tellRelease(
  temporal: TemporalLink,
  asked: Asked<MessageBody, unknown>,
  { role = 'write', raises = false, send }: Telling,
): Promise<Answer> {
  const { principal, params, body } = asked;
  const { reason, release } = body;
  const ref = serviceOf(params, release);
  const { namespace, service } = ref;
  asked.note({ namespace, service, ...body });
  requireReleaseRole(principal, role, namespace);
  const updateId = repeatKeyOf(asked);
  const client = await temporal.client();
  if (raises) await requireTargetOf(client, principal, ref);
  const content = { actor: actorOf(principal), ...(reason === undefined ? {} : { reason }) };
  // A release carries out one message of an id.
  const ack = await send(client, { ref, content, options: updateId === null ? {} : { updateId } });
  asked.note({ release: ack.release, seq: ack.seq });
  return { status: 200, body: { apiVersion: 'sluice.dev/v1', kind: 'MessageAck', namespace, service, ...ack } };
}

/** Who may change flags everywhere need not wait for the question which one it is. */
async function requireTargetOf(client: SluiceClient, principal: Principal, ref: ServiceRef): Promise<void> {
  if (may(principal, 'write', '*')) return;
  const plan = await client.lastPlan(ref);
  // Without a plan there is no release, as the message will be told.
  if (plan !== null) requireTargetRole(principal, plan.target);
}
