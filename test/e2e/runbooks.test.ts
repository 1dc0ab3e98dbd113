import path from 'node:path';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { BUILT, startWorkerProcess } from '../integration/worker-process';
import type { WorkerProcess } from '../integration/worker-process';
import { describeWithLab } from '../lab/describe-with-lab';
import { ApiProxy } from './api-proxy';
import { eventually } from './eventually';
import { pairChoices } from './pair';
import { labSpec, startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { OnDuty, Runbook } from './runbook';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const ROOT = path.join(__dirname, '..', '..');
const STUCK = new Runbook(ROOT, 'release-stuck.md');
const UNREACHABLE = new Runbook(ROOT, 'cluster-unreachable.md');
const BY_HAND = new Runbook(ROOT, 'roll-back-by-hand.md');

/** A soak that lasts until somebody ends it. */
const LONG: SpecChoices = { weights: [50, 100], soak: '10m' };

/**
 * The commands of docs/runbooks, as they stand there, on releases that are in the state that the page speaks of. The
 * ways of rolling back by hand are timed by `./scripts/bench ways-back`; the one after a promotion is here, too.
 */
describeWithLab('the runbooks', (lab) => {
  let proxy: ApiProxy;
  let stack: ReleaseStack;
  /** The worker cannot reach the cluster in these namespaces. */
  const cutOff = new Set<string>();

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    proxy = await ApiProxy.start(lab.kubeconfig);
    proxy.before = ({ path: at }) =>
      [...cutOff].some((namespace) => at.includes(`/${namespace}/`)) ? 'break' : 'pass';
    stack = await startReleaseStack(lab, { kubeconfig: proxy.kubeconfig });
  });
  afterAll(async () => {
    await stack?.stop();
    await proxy?.stop();
  });

  /** Somebody who is on duty for the scenario's service, in a folder with its release.yaml. */
  async function withOnDuty(
    one: Scenario,
    at: Pick<ReleaseStack, 'address'>,
    more: SpecChoices,
    act: (onDuty: OnDuty) => Promise<void>,
  ): Promise<void> {
    const spec = labSpec(lab, one.namespace, more);
    await OnDuty.during(lab, { root: ROOT, namespace: one.namespace, address: at.address, spec }, act);
  }

  const soaking = (one: Scenario): Promise<unknown> => one.until((status) => status.phase === 'soaking');

  together({
    'a release that waits for a person goes on by the commands of the page': async (name) => {
      const choices: SpecChoices = {
        ...LONG,
        before: '    - { weight: 25, soak: 6s }\n    - approve: { timeout: 10m }',
      };
      await Scenario.run(lab, stack, name, async (one) => {
        await withOnDuty(one, stack, choices, async (onDuty) => {
          await one.release('v2', choices);
          await one.until((status) => status.phase === 'awaitingApproval');
          expect(await onDuty.succeed(...STUCK.section().slice(0, 1))).toMatch(/approval/i);
          await onDuty.succeed(STUCK.inline('sluice approve "$NAMESPACE/$SERVICE"'));
          await one.until((status) => status.phase === 'soaking' && status.weight === 50);
          await stack.client.pause(one.ref, { actor: { name: 'ada', via: 'cli' }, reason: 'a look' });
          expect(await onDuty.succeed(...STUCK.section().slice(0, 1))).toMatch(/a look/);
          await onDuty.succeed(STUCK.inline('sluice resume "$NAMESPACE/$SERVICE"'));
          await one.until((status) => status.phase === 'soaking' && status.measurements.length > 0);
          await onDuty.succeed(STUCK.inline('sluice skip-soak "$NAMESPACE/$SERVICE"') + ' --yes');
          await one.until((status) => status.phase === 'soaking' && status.weight === 100);
          expect(await onDuty.succeed(STUCK.inline('sluice explain "$NAMESPACE/$SERVICE"'))).toMatch(/error-rate/);
          await onDuty.succeed(STUCK.inline('sluice rollback "$NAMESPACE/$SERVICE"') + ' --yes');
          const status = await one.ended();
          await one.expectAllOld(status);
        });
      });
    },

    'a release without a worker: doctor says so, and a worker is all it needs': async (name) => {
      const apart = await startReleaseStack(lab, { worker: false });
      const env = { TEMPORAL_ADDRESS: apart.address, KUBECONFIG: lab.kubeconfig };
      let worker: WorkerProcess | null = await startWorkerProcess(apart.client, env, BUILT);
      try {
        await Scenario.run(lab, apart, name, async (one) => {
          await withOnDuty(one, apart, {}, async (onDuty) => {
            await one.release('v2');
            await soaking(one);
            await worker?.end('SIGKILL');
            worker = null;
            await eventually(
              async () => (await apart.client.workers()).length === 0,
              'Temporal has forgotten the worker that was killed',
              400_000,
            );
            const doctor = await onDuty.give(...STUCK.section('No worker'));
            expect(doctor.code).not.toBe(0);
            expect(doctor.text).toMatch(/worker: none is running/);
            worker = await startWorkerProcess(apart.client, env, BUILT);
            const status = await one.ended();
            await one.expectAllNew(status);
            const healthy = await onDuty.succeed(...STUCK.section('No worker'));
            expect(healthy).not.toMatch(/none is running/);
          });
        });
      } finally {
        await worker?.end('SIGTERM');
        await apart.stop();
      }
    },

    'a release that no worker can go on with is taken back past its workflow, and the next one begins': async (
      name,
    ) => {
      const apart = await startReleaseStack(lab, { worker: false });
      const env = { TEMPORAL_ADDRESS: apart.address, KUBECONFIG: lab.kubeconfig };
      let worker: WorkerProcess | null = await startWorkerProcess(apart.client, env, BUILT);
      try {
        await Scenario.run(lab, apart, name, async (one) => {
          await withOnDuty(one, apart, LONG, async (onDuty) => {
            const { release: first } = await one.release('v2', LONG);
            await soaking(one);
            await worker?.end('SIGKILL');
            worker = null;
            const commands = STUCK.section('Past the workflow').map((block) =>
              block.replace('--direct', '--direct --yes'),
            );
            expect(await onDuty.succeed(...commands)).toMatch(/is set to 0 %/);
            await one.expectAllOld(null);
            worker = await startWorkerProcess(apart.client, env, BUILT);
            const { release, state } = await one.release('v2');
            expect({ isAnother: release !== first, state }).toEqual({ isAnother: true, state: 'started' });
            await one.expectAllNew(await one.ended());
          });
        });
      } finally {
        await worker?.end('SIGTERM');
        await apart.stop();
      }
    },

    'a roll back that cannot finish is given up, and the rest is done with kubectl': async (name) => {
      const play = (one: Scenario): Promise<void> =>
        withOnDuty(one, stack, LONG, async (onDuty) => {
          await one.release('v2', LONG);
          await soaking(one);
          cutOff.add(one.namespace);
          await one.rollback();
          await one.until((status) => status.stuck !== null);
          expect(await onDuty.succeed(...STUCK.section().slice(0, 1))).toMatch(/roll back cannot finish/);
          await onDuty.succeed(STUCK.inline('sluice rollback "$NAMESPACE/$SERVICE" --abandon') + ' --yes');
          const status = await one.ended();
          expect(status.outcome).toBe('failed');
          expect(status.compensations?.length ?? 0).toBeGreaterThan(0);
          await onDuty.succeed(...BY_HAND.section('With kubectl alone'));
          // The page gives all of the traffic to the one backend that is left.
          expect(await one.shop.backends()).toEqual({ shop: 100 });
          await one.expectAllOld(null, undefined, { byHand: true });
          cutOff.delete(one.namespace);
        });
      await Scenario.run(lab, stack, name, play, { changing: ['HTTPRoute/shop'] });
    },

    'a blue-green release is taken back after its switch, with kubectl alone': async (name) => {
      const choices = pairChoices({ soak: '10m' });
      const play = (one: Scenario): Promise<void> =>
        withOnDuty(one, stack, choices, async (onDuty) => {
          await one.release('v2', choices);
          await soaking(one);
          await onDuty.succeed(...BY_HAND.section('Blue and green'));
          const status = await one.ended();
          const since = Date.now();
          await eventually(() => (one.load.countsSince(since)['v1'] ?? 0) >= 20, 'the gateway has answered');

          expect(status).toMatchObject({ outcome: 'superseded' });
          expect(Object.keys(one.load.countsSince(since))).toEqual(['v1']);
          expect(await one.shop.replicas('shop-green')).toBe(0);
          expect(one.lost()).toEqual([]);
          // The next release finds the pair as it should be.
          const { release } = await one.release('v2', pairChoices({ keepOld: '2s' }));
          await one.until((next) => next.release === release);
          await one.expectAllNew(await one.ended());
        });
      await Scenario.run(lab, stack, name, play, { pair: true });
    },

    'a cluster that only the worker cannot reach: taken back from where you are': async (name) => {
      await Scenario.run(lab, stack, name, async (one) => {
        await withOnDuty(one, stack, LONG, async (onDuty) => {
          await one.release('v2', LONG);
          await soaking(one);
          cutOff.add(one.namespace);
          expect(await onDuty.succeed(...UNREACHABLE.section('Find out who is cut off').slice(0, 1))).toMatch(/^ok/);
          await onDuty.succeed(UNREACHABLE.inline('sluice rollback "$NAMESPACE/$SERVICE" --direct') + ' --yes');
          await one.expectAllOld(null);
          cutOff.delete(one.namespace);
          const status = await one.ended();
          expect(status).toMatchObject({ outcome: 'superseded', weight: 0 });
          expect(await onDuty.succeed(...UNREACHABLE.section('When it is back'))).toMatch(/superseded/);
          await one.expectAllOld(status);
        });
      });
    },

    'a cluster that nobody can reach: a roll back that was asked for meanwhile is the first thing done': async (
      name,
    ) => {
      await Scenario.run(lab, stack, name, async (one) => {
        await withOnDuty(one, stack, LONG, async (onDuty) => {
          await one.release('v2', LONG);
          await soaking(one);
          cutOff.add(one.namespace);
          await onDuty.succeed(...UNREACHABLE.section('Find out who is cut off').slice(1));
          await one.until((status) => status.stuck !== null);
          cutOff.delete(one.namespace);
          const status = await one.ended();
          expect(status).toMatchObject({
            outcome: 'aborted',
            message: expect.stringMatching(/bad version, API server away/),
          });
          expect(await onDuty.succeed(...UNREACHABLE.section('When it is back'))).toMatch(/aborted/);
          await one.expectAllOld(status);
        });
      });
    },

    'after a promotion of a pair the version before is back by the commands of the page': async (name) => {
      const choices = pairChoices({ soak: '6s', keepOld: '2s' });
      const play = (one: Scenario): Promise<void> =>
        withOnDuty(one, stack, choices, async (onDuty) => {
          await one.release('v2', choices);
          await one.expectAllNew(await one.ended());
          await onDuty.succeed(...BY_HAND.section('Of blue and green'));
          const since = Date.now();
          await eventually(() => (one.load.countsSince(since)['v1'] ?? 0) >= 20, 'the gateway has answered');
          // The page leaves the other colour its pods.
          await one.expectAllOld(null, undefined, { idlePods: 2 });
        });
      await Scenario.run(lab, stack, name, play, { pair: true });
    },

    'after a promotion the version before is back by the commands of the page': async (name) => {
      const choices: SpecChoices = { weights: [100], soak: '6s' };
      await Scenario.run(lab, stack, name, async (one) => {
        await withOnDuty(one, stack, choices, async (onDuty) => {
          await one.release('v2', choices);
          await one.expectAllNew(await one.ended());
          await onDuty.succeed(...BY_HAND.section('After a promotion'));
          await one.shop.drained();
          await one.expectAllOld(null);
        });
      });
    },
  });
});
