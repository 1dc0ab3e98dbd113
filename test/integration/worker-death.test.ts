import type { RouterEvent } from '../../src/router';
import { connect } from '../../src/client/connect';
import type { SluiceClient } from '../../src/client/client-types';
import type { ReleaseStatus } from '../../src/workflows/api';
import { eventually, Instance, TOKEN } from '../targets/instance';
import type { Fate } from '../targets/instance';
import { startLoad } from './shop';
import type { Load } from './shop';
import { planOf, shopSpec, startStack, until } from './stack';
import type { SpecChoices, Stack } from './stack';
import { startWorkerProcess } from './worker-process';
import type { WorkerProcess } from './worker-process';

// Real servers on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(150_000);

const ada = { name: 'ada', via: 'cli' } as const;
const guard = { maxErrorRate: 0.05, minRequests: 20, maxErrorRatio: false, maxLatencyMs: false } as const;

/**
 * One worker, a process of its own, has four releases in hand when it is killed: in a soak, in a promotion, in a roll
 * back, and in a soak whose canary fails while nobody is there. Then another worker comes.
 */
describe('a worker that is killed', () => {
  let stack: Stack;
  let client: SluiceClient;
  let worker: WorkerProcess;
  const instances: Instance[] = [];
  const loads: Load[] = [];

  async function releaseOf(
    service: string,
    spec: SpecChoices,
    options: ConstructorParameters<typeof Instance>[0] = {},
  ) {
    const two = [await new Instance(options).start(), await new Instance(options).start()];
    instances.push(...two);
    const urls = two.map((one) => one.url);
    loads.push(startLoad(urls, { perSecond: 40 }));
    const { release } = await client.deploy(planOf(shopSpec(urls, { service, ...spec }), 'v2'), { actor: ada });
    return { service, release, instances: two };
  }
  type Held = Awaited<ReturnType<typeof releaseOf>>;

  let soaking: Held;
  let promoting: Held;
  let rollingBack: Held;
  let guarded: Held;
  const ends = new Map<string, ReleaseStatus>();
  const atKill = { promoted: [] as string[], lowered: [] as number[], guarded: [] as number[] };

  beforeAll(async () => {
    stack = await startStack();
    const { address } = stack.temporal;
    client = await connect({ env: {}, address });
    const env = { TEMPORAL_ADDRESS: address, SLUICE_ROUTER_TOKEN: TOKEN };
    worker = await startWorkerProcess(client, env);

    [soaking, promoting, rollingBack, guarded] = await Promise.all([
      releaseOf('soaking', { weights: [25, 100], soak: '6s' }),
      releaseOf('promoting', { weights: [100], soak: '1s' }),
      releaseOf('rolling-back', { weights: [25, 100], soak: '5m', analysis: LAX }),
      releaseOf('guarded', { weights: [50, 100], soak: '5m', analysis: LAX }, { guard }),
    ]);

    // The promotion has reached one instance when the worker dies, and is on its way to the other.
    let deliver = (): void => undefined;
    const delivered = new Promise<void>((resolve) => (deliver = resolve));
    let promotions = 0;
    promoting.instances[1]!.proxy = async ({ path }): Promise<Fate> => {
      if (path === '/canary/promote' && ++promotions === 1) await delivered;
      return 'pass';
    };
    // So has the roll back.
    let lower = (): void => undefined;
    const lowered = new Promise<void>((resolve) => (lower = resolve));
    let lowerings = 0;
    rollingBack.instances[1]!.proxy = async ({ path, body }): Promise<Fate> => {
      const isLowering = path === '/canary/weight' && JSON.stringify(body).includes('"weight":0');
      if (isLowering && ++lowerings === 1) await lowered;
      return 'pass';
    };
    await until(client, soaking.service, (status) => status.phase === 'soaking');
    await until(client, guarded.service, (status) => status.phase === 'soaking');
    await until(client, rollingBack.service, (status) => status.phase === 'soaking');
    await client.rollback({ service: rollingBack.service, namespace: 'test' }, { actor: ada, reason: 'a hunch' });
    await eventually(
      () => promotions === 1 && stableOf(promoting, 0) === 'v2' && lowerings === 1 && weightOf(rollingBack, 0) === 0,
      'both writes are half done',
      60_000,
    );
    atKill.promoted = promoting.instances.map((one) => one.router.snapshot().stableVersion);
    atKill.lowered = rollingBack.instances.map((one) => one.router.snapshot().weight);
    atKill.guarded = guarded.instances.map((one) => one.router.snapshot().weight);

    await worker.end('SIGKILL');
    // What was on its way when the worker died arrives now, with nobody left to hear the answer.
    deliver();
    lower();
    // Nobody is there, and the canary fails.
    for (const one of guarded.instances) one.app = (version) => ({ status: version === 'v2' ? 500 : 200, body: '' });
    await eventually(
      () => guarded.instances.every((one) => one.router.snapshot().weight === 0),
      'the guard trips',
      30_000,
    );

    worker = await startWorkerProcess(client, env);
    await Promise.all(
      [soaking, promoting, rollingBack, guarded].map(async ({ service }) => {
        ends.set(service, await until(client, service, (status) => status.endedAt !== null));
      }),
    );
  }, 170_000);

  afterAll(async () => {
    for (const load of loads) await load.stop();
    await worker?.end('SIGKILL');
    for (const one of instances) await one.die();
    await client?.close();
    await stack?.stop();
  });

  it('was in the middle of what it did', () => {
    expect(atKill).toEqual({ promoted: ['v2', 'v1'], lowered: [0, 25], guarded: [50, 50] });
  });

  it('does not lose a soak: the release goes on and is promoted, and no step has its effect twice', () => {
    expect(ends.get('soaking')?.outcome).toBe('promoted');
    for (const one of soaking.instances) {
      expect(effects(one)).toEqual(['declared', 'weight 25', 'weight 100', 'promoted']);
    }
  });

  it('does not lose a promotion: it is finished, once on every instance', () => {
    expect(ends.get('promoting')?.outcome).toBe('promoted');
    for (const one of promoting.instances) expect(effects(one)).toEqual(['declared', 'weight 100', 'promoted']);
  });

  it('does not lose a roll back: it is finished, once on every instance', () => {
    expect(ends.get('rolling-back')).toMatchObject({ outcome: 'aborted', weight: 0 });
    for (const one of rollingBack.instances) {
      expect(effects(one)).toEqual(['declared', 'weight 25', 'weight 0', 'removed']);
    }
  });

  it('is not needed by the guard: traffic is back without anyone, and the release notices when somebody comes', () => {
    const end = ends.get('guarded');

    expect(end).toMatchObject({ outcome: 'rolledBack', weight: 0 });
    expect(end?.events.map((event) => event.type)).toContain('guardTripped');
    expect(end?.message).toContain('by itself');
    for (const one of guarded.instances) {
      expect(effects(one)).toEqual(['declared', 'weight 50', 'tripped', 'removed']);
      expect(one.router.snapshot()).toMatchObject({ stableVersion: 'v1', canaryVersion: null, weight: 0 });
    }
  });

  it('leaves a story without gaps, in which every step stands once', () => {
    for (const status of ends.values()) {
      expect(status.events.map((event) => event.seq)).toEqual(status.events.map((_, index) => index + 1));
      expect(status.events.filter((event) => event.type === 'started')).toHaveLength(1);
      expect(status.events.filter((event) => event.type === 'deployed')).toHaveLength(1);
    }
  });

  it('ends in order when it is only asked to: what it has in hand is finished, and nothing is begun', async () => {
    const held = [await new Instance().start()];
    instances.push(...held);
    const [instance] = held;
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    instance!.proxy = async ({ path, method }): Promise<Fate> => {
      if (method === 'PUT' && path === '/canary/release') await finished;
      return 'pass';
    };
    await client.deploy(planOf(shopSpec([instance!.url], { service: 'in-hand', weights: [100] }), 'v2'), {
      actor: ada,
    });
    await eventually(() => instance!.writes().length === 1, 'the deployment is under way');

    const ending = worker.end('SIGTERM');
    await eventually(() => /shut ?down|DRAINING|STOPPING|stopping/i.test(worker.log()), 'the worker has heard it');
    finish();
    const end = await ending;

    expect(end).toEqual({ code: 0, signal: null });
    expect(effects(instance!)).toEqual(['declared']);
    expect(instance!.writes()).toHaveLength(1);
    expect(instance!.router.snapshot().fence?.attempt).toBe(2);
  });

  const stableOf = (held: Held, index: number): string => held.instances[index]?.router.snapshot().stableVersion ?? '';
  const weightOf = (held: Held, index: number): number => held.instances[index]?.router.snapshot().weight ?? -1;
});

/** Evidence that never fails by itself, so that only the guard can end the release. */
const LAX = `    interval: 1s
    minRequests: 1
    metrics:
      - { name: error-rate, max: 100% }`;

/** What really changed on an instance, in order. */
function effects(instance: Instance): string[] {
  return instance.events().map(({ type, data }: RouterEvent) => {
    switch (type) {
      case 'release-declared':
        return 'declared';
      case 'release-removed':
        return 'removed';
      case 'weight-changed':
        return `weight ${String(data['weight'])}`;
      case 'guard-tripped':
        return 'tripped';
      default:
        return type;
    }
  });
}
