import { existsSync, readdirSync } from 'node:fs';
import { Client, Connection } from '@temporalio/client';
import { probe } from '../../src/cli/probe';
import type { ReleaseStatus } from '../../src/workflows/api';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { SHOP_TOKEN, startLoad, startShop } from '../integration/shop';
import type { Load, Shop } from '../integration/shop';
import { shopSpec } from '../integration/stack';
import { Home, waitFor } from './home';
import type { SluiceProcess } from './home';

/** What `sluice dev` says when it is ready. */
interface Dev {
  readonly process: SluiceProcess;
  readonly pid: number;
  readonly address: string;
  readonly uiUrl: string;
}

/** What the Temporal UI shows of a workflow of the bundle that was built. */
async function currentDetails(address: string, workflowId: string): Promise<string> {
  const connection = await Connection.connect({ address });
  try {
    const handle = new Client({ connection }).workflow.getHandle(workflowId);
    return (await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata')).currentDetails;
  } finally {
    await connection.close();
  }
}

/** A release, two starts of Temporal and a dozen processes, on a machine that may be busy. */
const TEST_WITHIN_MS = 300_000;

describe('sluice dev, for real', () => {
  let home: Home;
  let shop: Shop;
  let load: Load;

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);

  beforeEach(async () => {
    home = new Home();
    shop = await startShop();
    load = startLoad([shop.url]);
  });

  afterEach(async () => {
    await home.close();
    await load.stop();
    await shop.stop();
  }, TEST_WITHIN_MS);

  async function startDev(): Promise<Dev> {
    const process = home.start(
      ['dev', '--state', home.path('releases'), '--port', '0', '--ui-port', '0', '-o', 'jsonl'],
      { SLUICE_ROUTER_TOKEN: SHOP_TOKEN },
    );
    return { process, ...(JSON.parse(await process.firstLine()) as Omit<Dev, 'process'>) };
  }

  /** Ends it the way an init system does, and looks for what it left. */
  async function stopDev(dev: Dev): Promise<void> {
    // Else that nothing is left would say nothing.
    if (process.platform === 'linux') expect(home.processes().join('\n')).toContain('server start-dev');
    dev.process.terminate();
    const ended = await dev.process.ended;

    expect(ended).toMatchObject({ code: 0, signal: null });
    for (const address of [dev.address, new URL(dev.uiUrl).host]) {
      expect(`${address}: ${await probe(address)}`).toBe(`${address}: refused`);
    }
    // Temporal's guard ends by itself, a moment after it.
    await waitFor(() => (home.processes().length === 0 ? true : null));
  }

  async function status(): Promise<ReleaseStatus> {
    const { out } = await home.run(['status', 'test/shop', '-o', 'json']);
    return JSON.parse(out) as ReleaseStatus;
  }

  it(
    'carries a release over its own end in the middle of a soak, for commands that need no settings',
    async () => {
      const spec = home.write(
        'release.yaml',
        shopSpec([shop.url], {
          soak: '12s',
          weights: [25, 100],
          // The soak may be over before it runs again: then what was measured until then has to do.
          analysis: [
            '    interval: 1s',
            '    minRequests: 1',
            '    minMeasurements: 1',
            '    metrics:',
            '      - { name: error-rate, max: 20% }',
          ].join('\n'),
        }),
      );
      const before = await startDev();

      const deployed = await home.run(['deploy', spec, '--version', 'v2', '--detach', '-o', 'json']);
      expect(deployed).toMatchObject({ code: 0 });
      const { release } = JSON.parse(deployed.out) as { readonly release: string };
      const soaking = await waitFor(async () => {
        const now = await status();
        return now.phase === 'soaking' && now.weight === 25 && now.measurements.length > 0 ? now : null;
      });
      await stopDev(before);
      expect(shop.router.snapshot()).toMatchObject({ stableVersion: 'v1', weight: 25 });
      expect(existsSync(home.path('releases/temporal.db'))).toBe(true);

      const after = await startDev();
      expect(after.pid).not.toBe(before.pid);
      const waited = await home.run(['wait', 'test/shop', '--for', 'completed', '--timeout', '3m', '-q']);

      expect(waited).toMatchObject({ code: 0 });
      const ended = await status();
      expect(ended).toMatchObject({ release, version: { from: 'v1', to: 'v2' }, outcome: 'promoted' });
      // It went on, and did not begin anew: what had happened by then is still its story, and happened once.
      expect(ended.events.slice(0, soaking.events.length)).toEqual(soaking.events);
      expect(ended.events.filter(({ type }) => type === 'weightChanged').map(({ weight }) => weight)).toEqual([
        25, 100,
      ]);
      expect(await currentDetails(after.address, ended.workflowId)).toContain('v1 → v2 · **promoted**');
      expect(shop.router.snapshot()).toMatchObject({ stableVersion: 'v2' });
      expect(load.counts.stable.errors + load.counts.canary.errors + load.counts.lost).toBe(0);
      await stopDev(after);
    },
    TEST_WITHIN_MS,
  );

  it(
    'refuses a second one in one sentence, and is not disturbed by it',
    async () => {
      const dev = await startDev();

      const second = await home.run(['dev', '--state', home.path('releases')]);

      expect(second).toEqual({
        code: 1,
        signal: null,
        out: '',
        err:
          `Error: \`sluice dev\` is running already (process ${dev.pid}, Temporal at ${dev.address}).\n` +
          '       Use it as it is, or stop it with Ctrl-C where it runs.\n',
      });
      expect(await home.run(['list'])).toMatchObject({ code: 0 });
      await stopDev(dev);
      expect(await home.run(['list', '--address', dev.address])).toMatchObject({ code: 1, out: '' });
    },
    TEST_WITHIN_MS,
  );

  it(
    'lets one of two that start together over one state folder have it, and tells the other at once',
    async () => {
      const neighbour = new Home();
      try {
        const args = ['dev', '--state', home.path('releases'), '--port', '0', '--ui-port', '0', '-o', 'jsonl'];
        const both = [home.start(args), neighbour.start(args)] as const;

        const loser = await Promise.race(both.map(async (one) => (await one.ended, one)));
        const winner = both[0] === loser ? both[1] : both[0];

        expect(await loser.ended).toMatchObject({
          code: 1,
          err:
            `Error: The state in ${home.path('releases')} is in use by another \`sluice dev\` (process ${winner.pid}).\n` +
            '       Use that one, stop it with Ctrl-C where it runs, or choose another folder: --state DIRECTORY.\n',
        });
        expect(JSON.parse(await winner.firstLine())).toMatchObject({ kind: 'Dev', pid: winner.pid });
        winner.terminate();
        expect(await winner.ended).toMatchObject({ code: 0 });
        // Given up in order, and no trace that would have to be recognised as one.
        expect(readdirSync(home.path('releases')).filter((name) => name.includes('lock'))).toEqual([]);
      } finally {
        await neighbour.close();
      }
    },
    TEST_WITHIN_MS,
  );
});
