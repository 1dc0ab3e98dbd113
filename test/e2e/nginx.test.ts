import { get } from 'node:http';
import { describeWithLab } from '../lab/describe-with-lab';
import { ensureNginx } from '../lab/parts';
import type { Nginx } from '../lab/parts';
import { tell } from '../lab/tell';
import { byNginx } from './entrances';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

/** Two Ingresses of one service: for the world, and for those inside. */
const INGRESSES = ['shop', 'shop-intern'] as const;
const TRAFFIC = `{ nginx: { ingress: [${INGRESSES.join(', ')}] } }`;

describeWithLab('canary annotations on a real cluster, with a real nginx that serves them', (lab) => {
  let nginx: Nginx;
  let stack: ReleaseStack;

  beforeAll(async () => {
    nginx = await ensureNginx(tell);
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, byNginx(nginx, stack.cluster, INGRESSES));

  /** The version that serves one request. */
  function ask(
    { entrances }: Scenario,
    headers: Readonly<Record<string, string>> = {},
    name: (typeof INGRESSES)[number] = INGRESSES[0],
  ): Promise<string> {
    const { url = '', host } = entrances[INGRESSES.indexOf(name)] ?? {};
    return new Promise((resolve, reject) => {
      // fetch does not let the Host header be set.
      get(url, { headers: { host, ...headers } }, (response) => {
        response.resume();
        response.once('end', () => resolve(String(response.headers['x-version'] ?? response.statusCode)));
      }).once('error', reject);
    });
  }

  /** The canary serves such requests: also the workers that nginx replaces at each change have gone. */
  async function served(
    one: Scenario,
    headers: Readonly<Record<string, string>>,
    name: (typeof INGRESSES)[number],
  ): Promise<void> {
    for (let inARow = 0; inARow < 10;) inARow = (await ask(one, headers, name)) === 'v2' ? inARow + 1 : 0;
  }

  together({
    'promotes a version through every Ingress, and not one request fails': scenario(async (one) => {
      await one.release('v2', { traffic: TRAFFIC });
      const status = await one.ended();

      await one.expectAllNew(status);
      for (const load of one.loads) {
        expect(new Set(load.served.map(({ version }) => version))).toEqual(new Set(['v1', 'v2']));
      }
    }),

    'splits as it was asked to on each Ingress, by a chi-squared test of what nginx served': scenario(async (one) => {
      await one.release('v2', { traffic: TRAFFIC, weights: [30, 100], soak: '5m' });
      await one.until((status) => status.phase === 'soaking' && status.weight === 30);
      // nginx takes a moment from the annotations to what it serves.
      for (const name of INGRESSES) while ((await ask(one, {}, name)) !== 'v2');
      const since = Date.now();
      const enough = (): boolean =>
        one.loads.every(({ served: all }) => all.filter(({ at }) => at >= since).length >= 300);
      await one.until((status) => enough() || status.weight !== 30);
      const counts = one.loads.map((load) => load.countsSince(since));
      await one.rollback();
      const status = await one.ended();

      expect(status.outcome).toBe('aborted');
      for (const { v1 = 0, v2 = 0, ...others } of counts) {
        expect(others).toEqual({});
        expect(v1 + v2).toBeGreaterThanOrEqual(300);
        const chiSquared = (v2 - (v1 + v2) * 0.3) ** 2 / ((v1 + v2) * 0.3 * 0.7);
        process.stderr.write(`e2e: by nginx at 30 %: ${v1} old, ${v2} new, chi-squared ${chiSquared.toFixed(2)}\n`);
        // One degree of freedom; a split that is right fails this once in a hundred thousand runs.
        expect(chiSquared).toBeLessThan(19.5);
      }
      await one.expectAllOld(status);
    }),

    'leads those who are marked by a header or a cookie, and nobody else, before the first weight': scenario(
      async (one) => {
        await one.release('v2', {
          traffic: TRAFFIC,
          before:
            '    - match: { header: { x-canary: "true" } }\n    - match: { cookie: beta }\n    - approve: { timeout: 5m }',
          weights: [100],
          soak: '60s',
        });
        await one.until((status) => status.phase === 'awaitingApproval');
        for (const name of INGRESSES) {
          await served(one, { 'x-canary': 'true' }, name);
          await served(one, { cookie: 'beta=always' }, name);
        }
        const since = Date.now();
        const marked = [
          await ask(one, { 'x-canary': 'true' }),
          await ask(one, { cookie: 'beta=always' }, INGRESSES[1]),
        ];
        const others = [
          await ask(one, { 'x-canary': 'false' }),
          await ask(one, { cookie: 'beta=never' }),
          await ask(one),
        ];
        const unmarked = one.loads.map((load) => load.countsSince(since));
        await one.rollback();
        const status = await one.ended();

        expect({ marked, others }).toEqual({ marked: ['v2', 'v2'], others: ['v1', 'v1', 'v1'] });
        for (const counts of unmarked) expect(Object.keys(counts).filter((version) => version !== 'v1')).toEqual([]);
        expect(status.outcome).toBe('aborted');
        await one.expectAllOld(status);
        expect(await ask(one, { 'x-canary': 'true' })).toBe('v1');
      },
    ),

    'takes a version back by its error rate, and only its own requests fail': scenario(async (one) => {
      await one.release('v3', { traffic: TRAFFIC });
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      expect(status.message).toMatch(/canary requests failed .* more than the allowed 10 %/);
      await one.expectAllOld(status, 'v3');
    }),
  });
});
