import { Client, Connection } from '@temporalio/client';
import type { ActivityDeps } from '../../src/activities/deps';
import type { Plan } from '../../src/spec/plan-types';
import { FakeSource, FakeTarget } from '../activities/fakes';
import { planOf, shopSpec, startStack, until } from './stack';
import type { Stack } from './stack';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;
const service = 'long';
const ref = { service, namespace: 'test' };

function deps(): ActivityDeps {
  return {
    target: () => new FakeTarget(),
    source: () => new FakeSource(),
    slack: () => {
      throw new Error('nobody is told here');
    },
  };
}

/** Looks far more often than a spec may say, for a history that is long soon. */
function restless(): Plan {
  const plan = planOf(shopSpec(['http://127.0.0.1:1'], { service, soak: '1h', weights: [50, 100] }), 'v2');
  return { ...plan, analysis: { ...plan.analysis, intervalMs: 5 } };
}

describe('a history that has grown to its limit', () => {
  let stack: Stack;
  let raw: Client;
  beforeAll(async () => {
    stack = await startStack();
    await stack.startWorker({ deps: deps() });
    raw = new Client({ connection: await Connection.connect({ address: stack.temporal.address }) });
  });
  afterAll(async () => {
    await raw?.connection.close();
    await stack?.stop();
  });

  it('is handed over while messages come all the time: each is carried out once, and none is lost', async () => {
    const { client } = stack;
    await client.deploy(restless(), { actor: ada });
    const { runId } = await until(client, service, (status) => status.phase === 'soaking');

    const answered: { seq: number; reason: string }[] = [];
    // On until the next run was seen twice, so that messages reached it, too. Asked rarely: each question costs time.
    for (let round = 1, seen = 0; seen < 2; round += 1) {
      const reason = `round ${round}`;
      answered.push({ ...(await client.pause(ref, { actor: ada, reason })), reason });
      answered.push({ ...(await client.resume(ref, { actor: ada, reason })), reason });
      if (round % 10 === 0 && (await client.status(ref)).runId !== runId) seen += 1;
    }
    await client.rollback(ref, { actor: ada });
    const status = await until(client, service, ({ endedAt }) => endedAt !== null);

    expect(status).toMatchObject({ outcome: 'aborted' });
    expect(status.runId).not.toBe(runId);
    const first = await raw.workflow.getHandle(status.workflowId, runId).describe();
    expect(first.status.name).toBe('CONTINUED_AS_NEW');
    expect(first.historyLength).toBeGreaterThan(3_800);
    expect(first.historyLength).toBeLessThan(4_000);
    expect(status.events.map((event) => event.seq)).toEqual(status.events.map((_, index) => index + 1));
    const told = status.events.filter((event) => event.type === 'paused' || event.type === 'resumed');
    expect(told.map(({ seq, message }) => ({ seq, message }))).toEqual(
      answered.map(({ seq, reason }, index) => ({
        seq,
        message: index % 2 === 0 ? `Paused by ada: ${reason}.` : `Resumed by ada: ${reason}.`,
      })),
    );
  });
});
