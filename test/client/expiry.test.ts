import { WorkflowUpdateFailedError } from '@temporalio/client';
import type { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import type { PatientConnection } from '../../src/client/patient-connection';
import { createSluiceClient } from '../../src/client/sluice-client';
import type { SluiceClient } from '../../src/client/client-types';
import { FAILURES } from '../../src/workflows/api';
import type { Actor, MessageBase } from '../../src/workflows/api';

const ada: Actor = { name: 'ada', via: 'cli' };
const ref = { namespace: 'shop', service: 'checkout' };
const PATIENCE_MS = 5_000;

/** A client of a release whose clock is ahead by so much, and what reached the release. */
function releaseAhead(byMs: number, alwaysLate = false): { client: SluiceClient; sent: MessageBase[]; ids: unknown[] } {
  const sent: MessageBase[] = [];
  const ids: unknown[] = [];
  const executeUpdate = (_name: string, options: { args: [MessageBase]; updateId: string }): Promise<unknown> => {
    const [message] = options.args;
    sent.push(message);
    ids.push(options.updateId);
    const now = Date.now() + byMs;
    if (message.deadline !== undefined && (alwaysLate || now > message.deadline)) {
      const cause = ApplicationFailure.create({
        message: 'the message is too late.',
        type: FAILURES.tooLate,
        details: [now],
      });
      return Promise.reject(new WorkflowUpdateFailedError('refused', cause));
    }
    return Promise.resolve({ release: 'r', seq: 1, message: 'Done.' });
  };
  const client = { options: { namespace: 'default' }, workflow: { getHandle: () => ({ executeUpdate }) } };
  const connection = {
    withDeadline: (_deadline: number, call: () => unknown) => call(),
    withAbortSignal: (_signal: AbortSignal, call: () => unknown) => call(),
  };
  return {
    client: createSluiceClient({
      client: client as unknown as Client,
      connection: connection as unknown as PatientConnection,
      where: 'nowhere',
      timeoutMs: PATIENCE_MS,
    }),
    sent,
    ids,
  };
}

describe('a message', () => {
  it('says until when it is meant: as long as its sender waits for the answer', async () => {
    const { client, sent } = releaseAhead(0);
    const before = Date.now();

    await client.pause(ref, { actor: ada });

    expect(sent).toHaveLength(1);
    expect(sent[0]?.deadline).toBeGreaterThanOrEqual(before + PATIENCE_MS);
    expect(sent[0]?.deadline).toBeLessThanOrEqual(Date.now() + PATIENCE_MS);
  });

  it('arrives though the clock here is an hour behind: its deadline is said again by the clock there', async () => {
    const { client, sent, ids } = releaseAhead(3_600_000);

    expect((await client.approve(ref, { actor: ada })).message).toBe('Done.');

    expect(sent).toHaveLength(2);
    expect(sent[1]?.deadline).toBeGreaterThan(Date.now() + 3_600_000);
    expect(sent[1]?.deadline).toBeLessThanOrEqual(Date.now() + 3_600_000 + PATIENCE_MS);
    // It is one message all the same.
    expect(new Set(ids).size).toBe(1);
  });

  it('is not said for ever: late once more, it is refused', async () => {
    const { client, sent } = releaseAhead(0, true);

    await expect(client.promote(ref, { actor: ada })).rejects.toMatchObject({
      code: 'conflict',
      message: 'The message is too late.',
    });
    expect(sent).toHaveLength(2);
  });

  it('to roll back is always meant; to give that up is not', async () => {
    const { client, sent } = releaseAhead(0);

    await client.rollback(ref, { actor: ada });
    await client.rollback(ref, { actor: ada, abandon: true });

    expect(sent.map((one) => one.deadline === undefined)).toEqual([true, false]);
  });
});
