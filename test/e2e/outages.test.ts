import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DirectRollBack } from '../../src/targets/kubernetes/direct-roll-back';
import { startPart, stopPart } from '../lab/control';
import { describeWithLab } from '../lab/describe-with-lab';
import type { Lab } from '../lab/lab';
import { readState } from '../lab/state';
import { ApiProxy } from './api-proxy';
import type { Fate } from './api-proxy';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { Scenario } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

/** The outage that is to be outlived. */
const OUTAGE_MS = 30_000;

describeWithLab('a release outlives what it depends on', (lab) => {
  const root = path.join(__dirname, '..', '..');
  /** The parts of other clusters are not ours to stop. */
  function itOnTheLab(scenario: string, play: () => Promise<void>): void {
    if (readState() !== undefined) return it(scenario, play);
    const reason = 'it stops parts of the lab of scripts/lab, which this cluster is not';
    process.stderr.write(`skipped "${scenario}": ${reason}\n`);
    it.skip(scenario, play);
  }

  let proxy: ApiProxy;
  let stack: ReleaseStack;
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(path.join(tmpdir(), 'sluice-e2e-'));
    proxy = await ApiProxy.start(lab.kubeconfig);
    stack = await startReleaseStack(lab, {
      kubeconfig: proxy.kubeconfig,
      dbFile: path.join(folder, 'temporal.db'),
    });
  });
  afterAll(async () => {
    await stack?.stop();
    await proxy?.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  afterEach(() => {
    proxy.before = () => 'pass';
  });

  // A machine that starts its API server anew takes its time to everything else.
  const deployTimeout = '5m';
  const gate = '    - { weight: 25, soak: 6s }\n    - approve: { by: [oncall], timeout: 10m }';
  /** Goes up to an approval, after which the next weight comes. */
  const beforeAWeight: SpecChoices = { before: gate, weights: [50, 100], soak: '6s', deployTimeout };
  /** Goes up to an approval, after which only the promotion comes. */
  const beforePromotion: SpecChoices = {
    weights: [100],
    soak: '6s',
    deployTimeout,
    after: '    - approve: { by: [oncall], timeout: 10m }',
  };
  /** A soak that lasts until a hand ends it. */
  const soaking: SpecChoices = { weights: [50, 100], soak: '90s' };

  /** Plays scenarios side by side, all of which are in the middle of something when the fault comes. */
  async function sideBySide(
    names: readonly string[],
    play: (scenarios: readonly Scenario[]) => Promise<void>,
  ): Promise<void> {
    const open = async (left: readonly string[], opened: readonly Scenario[]): Promise<void> => {
      const [name, ...others] = left;
      if (name === undefined) return play(opened);
      // Everything that watches the API server comes back to it in its own time, up to half a minute late.
      const prepare = (shop: LabShop): Promise<void> =>
        shop.patch('Deployment', [{ op: 'replace', path: '/spec/progressDeadlineSeconds', value: 600 }]);
      await Scenario.run(lab, stack, name, (scenario) => open(others, [...opened, scenario]), { prepare });
    };
    await open(names, []);
  }

  itOnTheLab('an API server that is down for 30 s during a soak, a weight change and a promotion', async () => {
    const names = ['a soak', 'a weight change', 'a promotion'].map((step) => `API server down in ${step}`);
    await sideBySide(names, async ([soak, shift, promotion]) => {
      if (soak === undefined || shift === undefined || promotion === undefined) throw new Error('There are three.');
      await Promise.all([
        soak.release('v2', soaking),
        shift.release('v2', beforeAWeight),
        promotion.release('v2', beforePromotion),
      ]);
      await Promise.all([
        soak.until((status) => status.phase === 'soaking' && status.weight === 50),
        shift.until((status) => status.phase === 'awaitingApproval'),
        promotion.until((status) => status.phase === 'awaitingApproval'),
      ]);
      // The write of the weight does not arrive before the outage; that of the promotion has just arrived.
      let isDown = false;
      proxy.before = ({ method, path: at }): Fate =>
        !isDown && method === 'PATCH' && at.includes(`/${shift.namespace}/httproutes/`) ? 'break' : 'pass';
      await Promise.all([shift.approve(), promotion.approve()]);
      const isPromoting = async (): Promise<boolean> => /@sha256:/.test(await promotion.shop.imageOf());
      await eventually(isPromoting, 'stable is being made anew', 60_000);
      await eventually(
        () => proxy.requests.some(({ method, path: at }) => method === 'PATCH' && at.includes(`/${shift.namespace}/`)),
        'the weight is being written',
        60_000,
      );

      const away = Date.now();
      await stopPart('kube-apiserver');
      isDown = true;
      await delay(OUTAGE_MS);
      await startPart('kube-apiserver');

      const resumed = Date.now();
      process.stderr.write(`e2e: the API server was away for ${Math.round((resumed - away) / 1_000)} s\n`);
      await eventually(
        async () => {
          const { measurements } = await soak.until(() => true);
          return measurements.some((one) => one.at > resumed && one.verdict === 'pass');
        },
        'the soak is measured again',
        60_000,
      );
      await soak.rollback();
      const [soaked, shifted, promoted] = await Promise.all([soak.ended(), shift.ended(), promotion.ended()]);
      await soak.expectAllOld(soaked);
      await shift.expectAllNew(shifted);
      await promotion.expectAllNew(promoted);
    });
  });

  itOnTheLab('an etcd that is started again during a soak and a promotion', async () => {
    await sideBySide(['etcd restarted in a soak', 'etcd restarted in a promotion'], async ([soak, promotion]) => {
      if (soak === undefined || promotion === undefined) throw new Error('There are two.');
      await Promise.all([soak.release('v2', { ...soaking, soak: '20s' }), promotion.release('v2', beforePromotion)]);
      await Promise.all([
        soak.until((status) => status.phase === 'soaking' && status.weight === 50),
        promotion.until((status) => status.phase === 'awaitingApproval'),
      ]);
      await promotion.approve();
      await eventually(
        async () => /@sha256:/.test(await promotion.shop.imageOf()),
        'stable is being made anew',
        60_000,
      );

      await stopPart('etcd');
      await startPart('etcd');

      const [soaked, promoted] = await Promise.all([soak.ended(), promotion.ended()]);
      await soak.expectAllNew(soaked);
      await promotion.expectAllNew(promoted);
    });
  });

  it('a Temporal that is away: traffic stays, `rollback --direct` takes one back, and the other goes on', async () => {
    await sideBySide(['Temporal restarted', 'rollback --direct while Temporal is away'], async ([going, direct]) => {
      if (going === undefined || direct === undefined) throw new Error('There are two.');
      await Promise.all([
        going.release('v2', { weights: [50, 100], soak: '12s' }),
        direct.release('v2', { weights: [50, 100], soak: '10m' }),
      ]);
      await Promise.all(
        [going, direct].map((one) => one.until((status) => status.phase === 'soaking' && status.weight === 50)),
      );

      await stack.stopTemporal();
      const command = await rollBackDirectly(lab, root, direct.namespace);
      expect({ code: command.code, err: command.code === 0 ? '' : command.err }).toEqual({ code: 0, err: '' });
      const { weightZeroMs, steps, writes } = JSON.parse(command.out) as DirectRollBack;
      process.stderr.write(`e2e: rollback --direct: weight 0 after ${Math.round(weightZeroMs)} ms\n`);
      expect(steps).toHaveLength(3);
      expect(writes[0]).toMatchObject({ verb: 'patch', object: `HTTPRoute ${direct.namespace}/shop` });
      expect(steps.reduce((sum, step) => sum + step.writes, 0)).toBe(writes.length);
      // Temporal is still away.
      await direct.expectAllOld(null);
      expect(await going.shop.backends()).toEqual({ shop: 50, 'shop-canary': 50 });
      await stack.startTemporal();

      const [went, tookBack] = await Promise.all([going.ended(), direct.ended()]);
      await going.expectAllNew(went);
      // The release notices that a later write holds its traffic.
      expect(tookBack).toMatchObject({ outcome: 'superseded', weight: 0 });
      await direct.expectAllOld(tookBack);
    });
  });
});

/** The command as a person types it, with nothing but a kubeconfig. */
function rollBackDirectly(
  lab: Lab,
  root: string,
  namespace: string,
): Promise<{ code: number | null; out: string; err: string }> {
  const main = ['--require', path.join(root, 'scripts/lib/ts-register.cjs'), path.join(root, 'src/cli/main.ts')];
  const args = [...main, 'rollback', `${namespace}/shop`, '--direct', '--yes', '-o', 'json'];
  const env = { PATH: process.env['PATH'], HOME: process.env['HOME'], KUBECONFIG: lab.kubeconfig };
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { out: '', err: '' };
    child.stdout.on('data', (chunk: Buffer) => (output.out += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output.err += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
}
