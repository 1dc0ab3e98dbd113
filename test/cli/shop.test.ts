import { get } from 'node:http';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { kubernetesDemoSpec, routerDemoSpec } from '../../src/cli/demo/demo-spec';
import { readClusterShop } from '../../src/cli/demo/kubernetes-stage';
import { startLoad } from '../../src/cli/demo/load';
import type { LoadOptions } from '../../src/cli/demo/load';
import { createReporter } from '../../src/cli/demo/reporter';
import { startShop } from '../../src/cli/demo/shop';
import type { Shop } from '../../src/cli/demo/shop';
import { Session } from '../../src/cli/session';
import { createCli } from '../../src/cli/create-cli';
import { PassThrough } from 'node:stream';
import { beginComparison } from '../../src/cli/monitor-comparison';
import { FakeSluice } from './fake-client';
import { run, start } from './harness';
import type { Ran } from './harness';
import { aRolledBackStatus, aStatus } from './statuses';

const TOKEN = 'token-of-this-test';
const QUIET = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** What is tried on a shop of real processes elsewhere is tried here on one in this process. */
let shop: Shop;
let directory: string;
let spec: string;

beforeEach(async () => {
  shop = await startShop({ port: 0, adminToken: TOKEN, logger: QUIET });
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-cli-'));
  spec = path.join(directory, 'release.yaml');
  await writeFile(spec, routerDemoSpec([shop.url]));
});

afterEach(async () => {
  await shop.close();
  await rm(directory, { recursive: true, force: true });
});

function buy(user: string): Promise<{ status: number; cohort: unknown; version: unknown; body: string }> {
  return new Promise((resolve, reject) => {
    get(`${shop.url}/checkout`, { headers: { 'x-user-id': user } }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          cohort: response.headers['x-deployment-cohort'],
          version: response.headers['x-deployment-version'],
          body,
        }),
      );
    }).on('error', reject);
  });
}

async function admin(method: string, route: string, body: object): Promise<void> {
  const response = await fetch(`${shop.url}/canary/${route}`, {
    method,
    headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(response.status).toBe(200);
}

async function canaryAt(version: string, weight: number): Promise<void> {
  await admin('PUT', 'release', { version, salt: 'test' });
  await admin('PUT', 'weight', { weight });
}

describe('the shop of the demo', () => {
  it('serves v1, and the version a canary declares', async () => {
    expect(await buy('u1')).toEqual({ status: 200, cohort: 'stable', version: 'v1', body: 'sold, by v1\n' });

    await canaryAt('v2', 100);

    expect(await buy('u1')).toEqual({ status: 200, cohort: 'canary', version: 'v2', body: 'sold, by v2\n' });
    expect((await fetch(`${shop.url}/healthz`)).status).toBe(200);
  });

  it('cannot serve a crowd with v3', async () => {
    await canaryAt('v3', 100);

    const answers = await Promise.all(Array.from({ length: 40 }, (_, index) => buy(`user-${index}`)));

    const failed = answers.filter(({ status }) => status === 503).length;
    expect(failed).toBeGreaterThan(20);
    expect(failed).toBeLessThan(40);
  });
});

describe('the load of the demo', () => {
  let user = 0;
  const byCohort: Pick<LoadOptions, 'headers' | 'cohortOf'> = {
    headers: () => ({ 'x-user-id': `user-${(user += 1) % 50}` }),
    cohortOf: ({ 'x-deployment-cohort': cohort }) => (cohort === 'stable' || cohort === 'canary' ? cohort : null),
  };

  it('counts answers by cohort, and errors', async () => {
    await canaryAt('v2', 100);
    const load = startLoad({ urls: [shop.url], path: '/checkout', perSecond: 500, maxMs: 10_000, ...byCohort });

    while (load.counts().canary.answers < 20) await new Promise((resolve) => setImmediate(resolve));
    await load.stop();

    const counts = load.counts();
    expect(counts.canary.answers).toBe(counts.sent);
    expect(counts).toMatchObject({ stable: { answers: 0, errors: 0 }, canary: { errors: 0 }, unanswered: 0 });
    expect(load.takeShare()).toBe(1);
    expect(load.takeShare()).toBeNull();
  });

  it('counts an answer that is cut off after its headers as an error', async () => {
    let answers = 0;
    const cutting = createServer((_, response) => {
      answers += 1;
      response.writeHead(200, { 'x-deployment-cohort': 'stable', 'content-length': '100' });
      // Every other one is whole.
      if (answers % 2 === 0) response.end('x'.repeat(100));
      else response.write('a half', () => response.destroy());
    });
    await new Promise<void>((resolve) => cutting.listen(0, '127.0.0.1', resolve));
    try {
      const url = `http://127.0.0.1:${(cutting.address() as AddressInfo).port}`;
      const load = startLoad({ urls: [url], path: '/', perSecond: 500, maxMs: 10_000, ...byCohort });

      while (load.counts().stable.answers < 20) await new Promise((resolve) => setImmediate(resolve));
      await load.stop();

      const { stable, sent, unanswered } = load.counts();
      expect(stable).toEqual({ answers: sent, errors: Math.ceil(sent / 2) });
      expect(unanswered).toBe(0);
    } finally {
      cutting.closeAllConnections();
      await new Promise((resolve) => cutting.close(resolve));
    }
  });

  it('counts what is not answered, and goes nowhere but to loopback', async () => {
    const { url } = shop;
    await shop.close();
    const load = startLoad({ urls: [url], path: '/checkout', perSecond: 500, maxMs: 10_000, ...byCohort });

    while (load.counts().unanswered < 3) await new Promise((resolve) => setImmediate(resolve));
    await load.stop();

    expect(load.counts().unanswered).toBe(load.counts().sent);
    expect(() =>
      startLoad({ urls: ['http://example.com:80'], path: '/', perSecond: 1, maxMs: 1, ...byCohort }),
    ).toThrow('not on loopback');
  });
});

describe('the shop in a cluster', () => {
  const named = {
    SLUICE_DEMO_NAMESPACE: 'demo',
    SLUICE_DEMO_HOST: 'demo.example',
    SLUICE_DEMO_IMAGE: '127.0.0.1:5000/shop',
    SLUICE_LAB_GATEWAY_URL: 'http://127.0.0.1:8000/',
    SLUICE_LAB_PROMETHEUS_URL: 'http://127.0.0.1:9090',
  };

  it('is what the environment names', () => {
    expect(readClusterShop(named)).toEqual({
      namespace: 'demo',
      host: 'demo.example',
      gatewayUrl: 'http://127.0.0.1:8000',
      prometheusUrl: 'http://127.0.0.1:9090',
      image: '127.0.0.1:5000/shop',
    });
  });

  it.each([
    ['nothing is named', { SLUICE_DEMO_HOST: '' }, 'SLUICE_DEMO_HOST is not set'],
    ['its gateway is not here', { SLUICE_LAB_GATEWAY_URL: 'http://shop.example' }, 'sends its load to loopback'],
  ])('is refused, before anything is started, where %s', async (_, wrong, sentence) => {
    const ran = await run(['demo', '--kubernetes'], { client: new FakeSluice(), env: { ...named, ...wrong } });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain(sentence);
    expect(ran.out.trimEnd().split('\n').at(-1)).toMatch(/^demo: /u);
  });

  it('is released by a spec that is one', async () => {
    const file = path.join(directory, 'cluster.yaml');
    await writeFile(file, kubernetesDemoSpec(readClusterShop(named)));

    const plan = await createCli().spec.plan(file, '127.0.0.1:5000/shop:v2');

    expect(plan).toMatchObject({ namespace: 'demo', target: { kind: 'kubernetes', traffic: { kind: 'gatewayAPI' } } });
  });
});

describe("the demo's reports", () => {
  it('are one JSON event a line, but for the last', () => {
    let out = '';
    const stdout = new PassThrough();
    stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const session = new Session({ ...createCli({}), stdout, now: () => 7 }, { json: true });
    const report = createReporter(session);
    const load = { counts: jest.fn(), takeShare: () => 0.051, stop: () => Promise.resolve() };

    report.setUp('Temporal UI: http://127.0.0.1:1', { uiUrl: 'http://127.0.0.1:1' });
    const viewer = report.viewer(load);
    viewer.show(aStatus());
    viewer.show(aRolledBackStatus());
    viewer.finish();
    report.released('v3', aRolledBackStatus());
    report.finish('demo: v2 promoted, v3 rolled back');

    const lines = out.trimEnd().split('\n');
    const events = lines.slice(0, -1).map((line) => JSON.parse(line) as { kind: string; type: string });
    expect(events.map(({ type }) => type)).toEqual(['setUp', 'event', 'measurement', 'event', 'event', 'released']);
    expect(events.every(({ kind }) => kind === 'DemoEvent')).toBe(true);
    expect(lines.at(-1)).toBe('demo: v2 promoted, v3 rolled back');
  });
});

describe('sluice plan', () => {
  it("asks the router's own counters for the present traffic, by the version that is stable", async () => {
    for (let index = 0; index < 60; index += 1) await buy(`user-${index}`);

    const ran = await run(['plan', spec, '--version', 'v2', '-o', 'json'], { now: () => Date.now() });

    expect(JSON.parse(ran.out)).toMatchObject({
      detection: {
        problem: null,
        traffic: {
          requestsPerSecond: 0.2,
          metrics: [{ name: 'error-rate', base: 1 / 60, note: expect.stringContaining('60 requests') }, { base: 0.05 }],
        },
        steps: [{ weight: 5, warning: expect.stringContaining('can tell nothing') }, {}, {}, {}],
      },
    });
  });
});

describe('sluice monitor', () => {
  const quick = ['--duration', '90ms', '--interval', '30ms', '--window', '60s'];
  const env = { SLUICE_ROUTER_TOKEN: TOKEN };

  async function buyALot(count = 40): Promise<void> {
    for (let index = 0; index < count; index += 1) await buy(`user-${index}`);
  }

  /** The clock of the looks is the real one here. */
  const now = (): number => Date.now();

  it('prints a line for each look and a table at the end', async () => {
    await buyALot();

    const ran = await run(['monitor', spec, ...quick], { now });

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toMatch(/^\[0s\/0\.1s\] error 0 % p95 \d+(\.\d+)? ms rps 0\.7$/mu);
    expect(ran.out).toMatch(/^ +MIN +MEAN +MAX$/mu);
    expect(ran.out).toContain('3 of 3 looks had data, and all kept the thresholds.');
  });

  it('answers machines with one document, and looks line by line with jsonl', async () => {
    await buyALot();

    const json = await run(['monitor', spec, ...quick, '--json'], { now });
    const jsonl = await run(['monitor', spec, ...quick, '-o', 'jsonl'], { now });

    expect(JSON.parse(json.out)).toMatchObject({
      kind: 'Monitoring',
      track: 'stable',
      // The spec's own, since the command names none.
      thresholds: { errorRate: 0.05, p95Seconds: 2 },
      verdict: 'pass',
      validLooks: 3,
      statistics: { errorRate: { min: 0, mean: 0, max: 0 } },
    });
    expect(
      jsonl.out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { kind: string }).kind),
    ).toEqual(['MonitoringLook', 'MonitoringLook', 'MonitoringLook', 'Monitoring']);
  });

  it('holds a service against what the command says rather than the spec', async () => {
    await buyALot();

    const ran = await run(['monitor', spec, ...quick, '--max-error-rate', '1%', '--max-p95', '1ms', '--json'], { now });

    expect(ran.code).toBe(3);
    expect(JSON.parse(ran.out)).toMatchObject({ thresholds: { errorRate: 0.01, p95Seconds: 0.001 }, verdict: 'fail' });
  });

  it('never takes no data for good', async () => {
    const ran = await run(['monitor', spec, ...quick], { now });

    expect(ran.code).toBe(1);
    expect(ran.out).toContain('Only 0 of 3 looks had enough data, at least 3 must');
  });

  it('ends with code 3 when a threshold is broken, and rolls the running release back when told to', async () => {
    await canaryAt('v3', 100);
    await Promise.all(Array.from({ length: 60 }, (_, index) => buy(`user-${index}`)));
    const client = new FakeSluice(aStatus({ service: 'shop', namespace: 'demo' }));

    const seen = await run(['monitor', spec, ...quick], { now, client });
    const acted = await run(['monitor', spec, ...quick, '--auto-rollback'], { now, client, env });

    expect(seen.code).toBe(3);
    expect(client.sent).toHaveLength(1);
    expect(acted.code).toBe(3);
    expect(client.sent[0]).toMatchObject({
      name: 'rollback',
      message: {
        actor: { name: 'tester' },
        reason: expect.stringMatching(/^sluice monitor: error rate .* is above 5 %$/u),
      },
    });
    expect(acted.out).toContain('was asked to roll back');
  });

  it('tells the router itself where there is no release to roll back', async () => {
    await canaryAt('v3', 100);
    await Promise.all(Array.from({ length: 60 }, (_, index) => buy(`user-${index}`)));
    const args = ['monitor', spec, ...quick, '--auto-rollback'];

    const without = await run(args, { now, client: new FakeSluice() });
    const ran = await run(args, { now, client: new FakeSluice(), env });

    expect(without.code).toBe(2);
    expect(without.err).toContain('SLUICE_ROUTER_TOKEN, which opens the router, is not set');
    expect(ran.code).toBe(3);
    expect(ran.out).toMatch(
      /No release could be rolled back \(.+\); the canary was taken to 0 on 1 instance of the router/u,
    );
    expect((await buy('user-1')).version).toBe('v1');
  });

  it('takes a canary back that is proven worse than stable, whatever the thresholds say', async () => {
    await canaryAt('v3', 50);
    await Promise.all(Array.from({ length: 200 }, (_, index) => buy(`user-${index}`)));
    const lenient = ['--max-error-rate', '99%', '--max-p95', '1m', '--auto-rollback', '--json'];

    const ran = await run(['monitor', spec, ...quick, ...lenient], { now, client: new FakeSluice(), env });

    expect(ran.code).toBe(3);
    expect(JSON.parse(ran.out)).toMatchObject({
      track: 'canary',
      decidedBy: ['evidence'],
      message: expect.stringMatching(
        /^The evidence failed the canary after \S+: error-rate proven worse than stable: /u,
      ),
      rollback: expect.stringContaining('the canary was taken to 0 on 1 instance of the router'),
      // It was watched once, and what it was sent since its weight was set counts.
      looks: 1,
    });
    expect((await buy('user-1')).version).toBe('v1');
  });

  it('counts a router anew at each weight, and not at all where nobody has the canary', async () => {
    const asked: { weight: number | undefined; since: number; cursors: string[] }[] = [];
    const comparison = beginComparison({
      plan: await createCli({}).spec.plan(spec, 'v2'),
      source: {
        ...{
          sample: () => Promise.reject(new Error('not asked')),
          routed: () => Promise.reject(new Error('not asked')),
        },
        count: ({ metrics, weight, since, cursors, at }) => {
          asked.push({ weight, since, cursors: Object.keys(cursors) });
          return Promise.resolve(
            metrics.map(({ name }) => ({
              ...{ name, query: 'q', kind: 'batch' as const, dropped: [], cursor: { kind: 'time' as const, at } },
              ...(name === 'error-rate'
                ? { canary: { bad: 0, total: 30 }, stable: { bad: 0, total: 30 } }
                : { canary: { cumulative: [30, 30] }, stable: { cumulative: [30, 30] }, boundaries: [1] }),
            })),
          );
        },
      },
      ...{ versions: { canary: 'v2', stable: 'v1' }, minRequests: 10, startedAt: 1_000, plannedLooks: 10 },
    });
    const look = (at: number): ReturnType<typeof comparison.look> => comparison.look(at, new AbortController().signal);

    expect(await look(2_000)).toEqual([]);
    await canaryAt('v2', 5);
    expect(await look(3_000)).toMatchObject([{ outcome: 'kept', evidence: { batches: 1 } }, {}]);
    await canaryAt('v2', 25);
    expect((await look(4_000))[0]).toMatchObject({ outcome: 'insufficient', evidence: { batches: 1 } });
    expect((await look(5_000))[0]).toMatchObject({ outcome: 'kept', evidence: { batches: 2 } });
    expect((await look(6_000))[0]).toMatchObject({ evidence: { batches: 3 } });
    await canaryAt('v2', 100);
    expect((await look(7_000))[0]).toMatchObject({ outcome: 'impossible' });

    expect(asked).toEqual([
      { weight: 5, since: 1_000, cursors: [] },
      { weight: 25, since: 4_000, cursors: [] },
      { weight: 25, since: 4_000, cursors: ['error-rate', 'p95-latency'] },
    ]);
  });

  it('says when no instance answers', async () => {
    await shop.close();

    const ran = await run(['monitor', spec, ...quick], { now });

    expect(ran.code).toBe(1);
    expect(ran.err).toContain('No instance of demo/shop answers');
    expect(ran.err).toContain('ECONNREFUSED');
  });

  it('says on every line that numbers are made up', async () => {
    const ran = await run(['monitor', spec, ...quick, '--simulate', 'failing'], { now });

    expect(ran.code).toBe(3);
    for (const line of `${ran.out}${ran.err}`.trimEnd().split('\n')) expect(line).toMatch(/^\[simulated\] /u);
  });

  it.each([
    [['--interval', '10s', '--duration', '5s'], 'there is no look every 10s'],
    [['--track', 'middle'], 'There is no track "middle"'],
    [['--max-error-rate', '5'], '--max-error-rate is "5", which has no percent sign'],
    [['--min-requests', 'some'], 'which is no count'],
    [['--track', 'canary'], 'demo/shop has no canary now'],
  ])('refuses %j with a sentence', async (args, sentence) => {
    const ran = await run(['monitor', spec, ...args], { now });

    expect(ran.code).toBeGreaterThan(0);
    expect(ran.err).toContain(sentence);
  });
});

describe('sluice doctor', () => {
  const now = (): number => Date.now();

  it('finds nothing wrong where nothing is', async () => {
    for (let index = 0; index < 5; index += 1) await buy(`user-${index}`);

    const ran = await run(['doctor', spec], { client: new FakeSluice(), now, env: { SLUICE_ROUTER_TOKEN: TOKEN } });

    expect(ran).toMatchObject({ code: 0, err: '' });
    for (const line of ran.out.trimEnd().split('\n')) expect(line).toMatch(/^✔ /u);
    const names = ['Temporal', 'worker', 'spec', 'instance', 'SLUICE_ROUTER_TOKEN', 'metric error-rate', 'smoke test'];
    for (const name of names) {
      expect(ran.out).toContain(`✔ ${name}`);
    }
  });

  it('says what to do about each thing that is wrong', async () => {
    const client = new FakeSluice();
    client.pollers = [];

    const ran = await run(['doctor', spec, '--json'], { client, now, env: { SLUICE_ROUTER_TOKEN: 'wrong' } });

    const { healthy, checks } = JSON.parse(ran.out) as {
      healthy: boolean;
      checks: { name: string; state: string; hint: string }[];
    };
    expect(ran.code).toBe(1);
    expect(healthy).toBe(false);
    expect(checks.filter(({ state }) => state === 'bad').map(({ name }) => name)).toEqual([
      'worker',
      'SLUICE_ROUTER_TOKEN',
    ]);
    expect(checks.find(({ name }) => name === 'worker')?.hint).toContain('sluice worker');
    // Nobody has bought anything: no data is no error, but it is said.
    expect(checks.find(({ name }) => name === 'metric error-rate')?.state).toBe('warn');
  });

  it.each<[state: string, missing: readonly string[] | null, sentence: string]>([
    ['bad', ['SluicePhase', 'SluiceWeight'], 'without the search attributes SluicePhase, SluiceWeight.'],
    ['warn', null, 'whether the search attributes are cannot be seen with these permissions.'],
  ])('is %s where search attributes are %j, though a list answers', async (state, missing, sentence) => {
    const client = new FakeSluice();
    client.missing = missing;

    const ran = await run(['doctor', '--json'], { client, env: {} });

    const { checks } = JSON.parse(ran.out) as { checks: { name: string; state: string; sentence: string }[] };
    expect(checks.find(({ name }) => name === 'namespace and search attributes')).toMatchObject({
      state,
      sentence: expect.stringContaining(sentence),
    });
    expect(ran.code).toBe(state === 'bad' ? 1 : 0);
  });

  it('says when instances do not answer, or answer something else', async () => {
    const odd: Server = createServer((_request, response) => response.end('<html>'));
    await new Promise<void>((resolve) => odd.listen(0, '127.0.0.1', resolve));
    const { url } = shop;
    await shop.close();
    await writeFile(spec, routerDemoSpec([url, `http://127.0.0.1:${(odd.address() as AddressInfo).port}`]));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), now });
    await new Promise((resolve) => odd.close(resolve));

    expect(ran.code).toBe(1);
    expect(ran.out).toContain(`✖ instance ${url}: does not answer (ECONNREFUSED).`);
    expect(ran.out).toContain('answered something that is not JSON');
    expect(ran.err).toContain('checks failed');
  });

  it('says when instances disagree, each about what it is', async () => {
    const other = await startShop({ port: 0, adminToken: TOKEN, logger: QUIET });
    await writeFile(spec, routerDemoSpec([shop.url, other.url]));
    const doctor = (): Promise<Ran> => run(['doctor', spec], { client: new FakeSluice(), now });

    await canaryAt('v2', 5);
    const inTheMiddle = await doctor();
    await admin('POST', 'promote', { version: 'v2' });
    const apart = await doctor();
    await other.close();

    expect(inTheMiddle.code).toBe(0);
    expect(inTheMiddle.out).toContain(`⚠ canary: the instances disagree about the canary: v2 at ${shop.url}, none at`);
    expect(inTheMiddle.out).toContain(`⚠ weight: the instances disagree about the weight: 5 % at ${shop.url}, 0 % at`);
    expect(apart.code).toBe(1);
    expect(apart.out).toContain(
      `✖ stable version: the instances disagree about the stable version: v2 at ${shop.url}, v1 at ${other.url}.`,
    );
  });

  it.each([
    ['/healthz', '200', '✖ smoke test /healthz: URL answers without naming a version'],
    [
      '/checkout',
      '302',
      '⚠ smoke test /checkout: v1 at URL answers 200 instead of 302; the new version has to do better.',
    ],
    ['/checkout', '200', '✔ smoke test /checkout: v1 at URL answers 200.'],
  ])("asks for the smoke test's path: %s, expecting %s", async (asked, status, line) => {
    const text = routerDemoSpec([shop.url]);
    await writeFile(spec, text.replace(/smokeTest: .*/u, `smokeTest: { path: ${asked}, expectStatus: ${status} }`));

    const ran = await run(['doctor', spec], { client: new FakeSluice(), now });

    expect(ran.out).toContain(line.replace('URL', shop.url));
  });

  it('asks Slack whose token it is', async () => {
    const slack = createServer((request, response) => {
      const known = request.headers.authorization === 'Bearer xoxb-good';
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify(known ? { ok: true, user: 'sluice', team: 'Acme' } : { ok: false, error: 'invalid_auth' }),
      );
    });
    await new Promise<void>((resolve) => slack.listen(0, '127.0.0.1', resolve));
    const api = { SLUICE_SLACK_API_URL: `http://127.0.0.1:${(slack.address() as AddressInfo).port}/api/` };
    const client = new FakeSluice();

    const good = await run(['doctor'], { client, now, env: { ...api, SLUICE_SLACK_TOKEN: 'xoxb-good' } });
    const wrong = await run(['doctor'], { client, now, env: { ...api, SLUICE_SLACK_TOKEN: 'xoxb-secret' } });
    const silent = await run(['doctor', '--no-slack'], {
      client,
      now,
      env: { ...api, SLUICE_SLACK_TOKEN: 'xoxb-secret' },
    });
    slack.closeAllConnections();
    await new Promise((resolve) => slack.close(resolve));

    expect(good.code).toBe(0);
    expect(good.out).toContain('✔ Slack: the token is that of sluice in Acme.');
    expect(wrong.code).toBe(1);
    expect(wrong.out).toContain('invalid_auth');
    expect(`${wrong.out}${wrong.err}`).not.toContain('xoxb-secret');
    expect(silent.out).not.toContain('Slack');
  });

  it('notices a clock that is off', async () => {
    const ran = await run(['doctor', spec], { client: new FakeSluice(), now: () => Date.now() + 60_000 });

    expect(ran.out).toMatch(/⚠ instance .* its clock is \d+s off|⚠ instance .* its clock is 1m00s off/u);
  });

  it('says that Temporal is not reached, and goes on', async () => {
    const ran = await run(['doctor', spec, '--address', '127.0.0.1:1'], { now });

    expect(ran.code).toBe(1);
    expect(ran.out).toContain('✖ Temporal: Temporal does not answer at 127.0.0.1:1');
    expect(ran.out).toContain('✔ spec');
  });
});

describe('sluice worker', () => {
  it('runs until it is told to stop, and stops in order', async () => {
    let stop: () => void = () => undefined;
    const stopped = new Promise<void>((resolve) => {
      stop = resolve;
    });
    const startWorker = jest.fn(() =>
      Promise.resolve({ stopped, stop: () => Promise.resolve(stop()), healthUrl: 'http://127.0.0.1:9464' }),
    );
    const running = start(['worker', '--health-port', '0', '--address', 'a:1', '--task-queue', 'q'], {
      override: { startWorker },
    });

    await running.wrote('The worker is running');
    running.interrupt('SIGTERM');
    const ran = await running.ended;

    expect(ran).toMatchObject({ code: 0, out: '' });
    expect(ran.err).toContain('Health: http://127.0.0.1:9464');
    expect(startWorker).toHaveBeenCalledWith(
      expect.objectContaining({ address: 'a:1', taskQueue: 'q', healthPort: 0 }),
    );
    expect((await run(['worker', '--health-port', 'x'])).code).toBe(2);
    const format = await run(['worker', '--log-format', 'xml']);
    expect(format.code).toBe(2);
    expect(format.err).toContain('Allowed choices are json, text.');
  });
});
