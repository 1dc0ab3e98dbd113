import { Client, Connection } from '@temporalio/client';
import { releaseWorkflowId } from '../../src/workflows/api';
import { BUILD_WITHIN_MS, builtSluice } from '../examples/built-sluice';
import { startShop } from '../integration/shop';
import type { Shop } from '../integration/shop';
import { planOf, shopSpec, startStack } from '../integration/stack';
import type { Stack } from '../integration/stack';
import { BUILT, startWorkerProcess } from '../integration/worker-process';

const ADA = { name: 'ada', via: 'cli' } as const;

/** What Temporal's UI shows as the call stack of a release that soaks. */
describe('the stack traces of a workflow', () => {
  let stack: Stack;
  let shop: Shop;
  let connection: Connection;

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    stack = await startStack();
    shop = await startShop();
    connection = await Connection.connect({ address: stack.temporal.address });
  });
  afterAll(async () => {
    await connection.close();
    await shop.stop();
    await stack.stop();
  });

  it.each([
    ['are not taken by a worker as it is built', {}, /^Error\s*$/],
    ['are taken where they are asked for', { SLUICE_WORKFLOW_STACKS: 'true' }, /\bat .*workflows\//],
  ])(
    '%s',
    async (_what, env, expected) => {
      const service = `stacks-${Object.keys(env).length}`;
      const worker = await startWorkerProcess(
        stack.client,
        { TEMPORAL_ADDRESS: stack.temporal.address, SLUICE_ROUTER_TOKEN: 'test-admin-token', ...env },
        BUILT,
      );
      try {
        const plan = planOf(shopSpec([shop.url], { service, soak: '10m' }), 'v2');
        await stack.client.deploy(plan, { actor: ADA });
        for await (const status of stack.client.watch({ service, namespace: plan.namespace }, { everyMs: 100 })) {
          if (status.phase === 'soaking') break;
        }
        const handle = new Client({ connection }).workflow.getHandle(releaseWorkflowId(plan.namespace, service));

        expect(await handle.query<string>('__stack_trace')).toMatch(expected);
        await stack.client.rollback({ service, namespace: plan.namespace }, { actor: ADA, reason: 'seen' });
        expect(await handle.result()).toMatchObject({ outcome: 'aborted' });
      } finally {
        await worker.end('SIGTERM');
      }
    },
    120_000,
  );

  it('are a setting with two values', async () => {
    await expect(stack.startWorker({ env: { SLUICE_WORKFLOW_STACKS: 'yes' } })).rejects.toThrow(
      'SLUICE_WORKFLOW_STACKS is "yes"; allowed are true and false.',
    );
  });
});
