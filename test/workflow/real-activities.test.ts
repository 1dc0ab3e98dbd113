import { createActivities } from '../../src/activities/activities';
import { createDeps } from '../../src/worker/create-deps';
import type { WorkerDeps } from '../../src/worker/create-deps';
import type { Plan } from '../../src/spec/plan-types';
import { planOf, shopSpec } from '../integration/stack';
import { Instance, TOKEN } from '../targets/instance';
import { FakeWorld } from './fake-world';
import { ADA, send, statusOf, TimeSkipping } from './time-skipping';
import type { ReleaseHandle } from './time-skipping';

/** The whole sequence over the activities that a worker runs and a real router, in time that is skipped. */

let deps: WorkerDeps;
let time: TimeSkipping;
let instance: Instance;

beforeAll(async () => {
  deps = createDeps({ SLUICE_ROUTER_TOKEN: TOKEN });
  time = await TimeSkipping.start({ activities: createActivities(deps) });
});
afterAll(async () => {
  await time.stop();
  deps.close();
});

beforeEach(async () => {
  instance = await new Instance().start();
  // Users come between any two looks: the app's clock is the real one, and does not skip with the release's.
  instance.proxy = () => {
    serve(200);
    return 'pass';
  };
});
afterEach(() => instance.die());

/** What a version's answers are; 200 unless a test says so. */
let statuses: Record<string, number>;
beforeEach(() => (statuses = {}));

function serve(users: number): void {
  for (let user = 0; user < users; user += 1) {
    const exchange = instance.router.begin({ userId: `user-${user}` });
    exchange.finish({ status: statuses[exchange.assignment.version] ?? 200 });
  }
}

function shopPlan(version: string, interval: string): Plan {
  const analysis = `    interval: ${interval}
    minRequests: 1
    metrics:
      - { name: error-rate, max: 20% }`;
  return planOf(shopSpec([instance.url], { soak: '60s', weights: [25, 50, 100], analysis }), version);
}

function release(
  version: string,
  act: (handle: ReleaseHandle) => Promise<void>,
  { interval = '5s' } = {},
): Promise<void> {
  // The world of this test is the instance; that one has nothing to do but to be there.
  return time.run(new FakeWorld(), async (room) => act(await time.startRelease(room, shopPlan(version, interval))));
}

/** As the router itself says, whatever the workflow believes. */
function routed(): unknown {
  const { stableVersion, canaryVersion, weight } = instance.router.state().config;
  return { stable: stableVersion.value, canary: canaryVersion.value, weight: weight.value };
}

/** The weights that the router was put to, one after the other. */
function weightsAsked(): unknown[] {
  return instance
    .writes()
    .filter(({ path }) => path.endsWith('/weight'))
    .map(({ body }) => (body as { weight: number }).weight);
}

it('promotes a version that does well', async () => {
  await release('v2', async (handle) => {
    expect((await handle.result()).outcome).toBe('promoted');

    const { steps } = await statusOf(handle);
    expect(steps.map(({ state }) => state)).toEqual(steps.map(() => 'passed'));
    expect(weightsAsked()).toEqual([25, 50, 100]);
    expect(routed()).toEqual({ stable: 'v2', canary: null, weight: 0 });
  });
});

it('rolls back a version that fails, by the counts of the router', async () => {
  statuses = { v2: 503 };
  await release('v2', async (handle) => {
    expect((await handle.result()).outcome).toBe('rolledBack');

    const { events } = await statusOf(handle);
    const failed = events.find(({ type }) => type === 'stepFailed');
    expect(failed?.weight).toBe(25);
    expect(failed?.evidence?.metrics).toMatchObject([{ name: 'error-rate', verdict: 'fail' }]);
    expect(weightsAsked()).toEqual([25, 0]);
    expect(routed()).toEqual({ stable: 'v1', canary: null, weight: 0 });
  });
});

it('rolls back in a soak when a person asks for it', async () => {
  // Far apart, because until the message is carried out the clock goes as fast as the wall's.
  const looks = { interval: '20s' };
  const act = async (handle: ReleaseHandle): Promise<void> => {
    // A while into the soak, between two measurements (`quiet` says why).
    await time.until(handle, ({ measurements }) => measurements.filter(({ weight }) => weight === 50).length === 2);
    await time.env.sleep(1_234);
    await time.quiet(handle);
    expect((await statusOf(handle)).phase).toBe('soaking');
    expect(routed()).toEqual({ stable: 'v1', canary: 'v2', weight: 50 });

    await send(handle, 'rollback', { reason: 'it looks odd' });
    expect((await handle.result()).outcome).toBe('aborted');

    const { events } = await statusOf(handle);
    expect(events.find(({ type }) => type === 'rollbackRequested')).toMatchObject({ actor: ADA, weight: 50 });
    expect(weightsAsked()).toEqual([25, 50, 0]);
    expect(routed()).toEqual({ stable: 'v1', canary: null, weight: 0 });
  };
  await release('v2', act, looks);
});
