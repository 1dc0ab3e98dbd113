import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createPrometheusHistory } from '../../src/metrics/prometheus-history';
import { formatDate } from '../../src/cli/units';
import { json, refusedUrl, startFakeServer } from '../metrics/fake-server';
import type { FakeServer } from '../metrics/fake-server';
import { describeWithPromtool } from '../metrics/prometheus-executable';
import { startPrometheus } from '../metrics/real-prometheus';
import type { RunningPrometheus } from '../metrics/real-prometheus';
import { openMetricsOf, SCRAPE_MS } from '../metrics/recorded-history';
import { planOf } from '../backtest/recordings';
import { dangersOf, readPage } from '../report/page';
import { run } from './harness';
import type { Ran } from './harness';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-backtest-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const kubernetes = '{ kubernetes: { deployment: checkout, service: checkout, traffic: { replicas: {} } } }';
async function specOf(analysis: string, target = kubernetes, more = ''): Promise<string> {
  const file = path.join(await mkdtemp(path.join(directory, 'spec-')), 'release.yaml');
  const text = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target: ${target}
  analysis:
    ${analysis}
  ${more}
`;
  await writeFile(file, text);
  return file;
}

const iso = (at: number): string => new Date(at).toISOString();

interface Document {
  readonly healthy: {
    readonly releases: number;
    readonly promoted: number;
    readonly falseAlarms: { readonly count: number; readonly of: number; readonly upper: number };
    readonly alarms: readonly { readonly sentence: string; readonly weight: number; readonly alarmAt: number }[];
  };
  readonly injected: readonly {
    readonly times: number;
    readonly fromWeight: number;
    readonly found: { readonly count: number; readonly of: number };
    readonly delayMs: { readonly median: number; readonly p95: number };
    readonly requests: { readonly median: number };
  }[];
  readonly deploys: readonly {
    readonly outcome: string;
    readonly caughtAfterMs: number | null;
    readonly sentence: string;
  }[];
  readonly notes: readonly string[];
}

function documentOf({ out, err, code }: Ran): Document {
  if (code !== 0) throw new Error(`It ended with ${code}: ${err}`);
  return JSON.parse(out) as Document;
}

describeWithPromtool('sluice backtest over a Prometheus with a history', ({ prometheus: binary, promtool }) => {
  const end = Math.floor((Date.now() - 15 * MINUTE) / SCRAPE_MS) * SCRAPE_MS;
  const begin = end - 6 * HOUR;
  const incident = begin + 5 * HOUR;
  const broken = begin + 2 * HOUR;
  const fine = begin + 3 * HOUR;
  let prometheus: RunningPrometheus;
  let spec: string;

  beforeAll(async () => {
    const base = 0.002;
    const openMetrics = openMetricsOf([
      {
        track: 'stable',
        from: begin,
        to: end,
        requestsPerSecond: 80,
        // Ninety seconds in which everybody's requests fail.
        errors: (at) => (at > incident && at <= incident + 90_000 ? 0.3 : base),
      },
      { track: 'canary', from: broken, to: broken + 5 * MINUTE, requestsPerSecond: 8, errors: () => 0.04 },
      { track: 'canary', from: fine, to: fine + 5 * MINUTE, requestsPerSecond: 8, errors: () => base },
    ]);
    prometheus = await startPrometheus(binary, [], { backFill: { promtool, openMetrics } });
    spec = await specOf(`source: { prometheus: { url: "${prometheus.url}" } }`);
  });
  afterAll(() => prometheus?.stop());

  const backtest = (...args: readonly string[]): Promise<Ran> => run(['backtest', spec, ...args], { now: Date.now });
  const clean = ['--from', iso(begin), '--to', iso(incident - 4 * MINUTE)];

  it('has no false alarm on clean history, and finds a tenfold share of errors', async () => {
    const found = documentOf(await backtest(...clean, '--runs', '74', '--inject', '10x@25%', '-o', 'json'));

    expect(found.healthy).toMatchObject({ releases: 74, promoted: 74, falseAlarms: { count: 0, of: 74 } });
    expect(found.healthy.falseAlarms.upper).toBeCloseTo(0.049, 3);
    expect(found.notes).toEqual([]);
    const [tenfold] = found.injected;
    expect(tenfold).toMatchObject({ times: 10, fromWeight: 25, found: { of: 74 } });
    // Batches of four scrapes a minute, the first of each weight left out, of independent errors: 92 % by simulation.
    expect(tenfold?.found.count).toBeGreaterThanOrEqual(60);
    expect(tenfold?.requests.median).toBeGreaterThan(600);
    expect(tenfold?.requests.median).toBeLessThan(3_600);
  });

  it('tells an alarm with its reason: an incident of all is too much for a fixed limit', async () => {
    const from = incident - 10 * MINUTE;
    const ran = await backtest('--from', iso(from), '--to', iso(incident + 10 * MINUTE), '--runs', '17', '--json');
    const { healthy, notes } = documentOf(ran);

    expect(healthy.falseAlarms.count).toBeGreaterThan(0);
    for (const alarm of healthy.alarms) {
      expect(alarm.sentence).toMatch(
        /^1 measurement failed: \d+ of \d+ canary requests failed .* more than the allowed 5 %/,
      );
      expect(alarm.alarmAt - incident).toBeGreaterThan(0);
      expect(alarm.alarmAt - incident).toBeLessThan(4 * MINUTE);
    }
    expect(notes[0]).toMatch(/^17 releases overlap where 5 have room side by side/);
  });

  it('says which deploys would have been caught, where both tracks were recorded', async () => {
    const alone = begin + 4 * HOUR;
    const times = [broken, fine, alone].map((at) => iso(at)).join();
    const { deploys } = documentOf(await backtest(...clean, '--runs', '1', '--deploys', times, '--json'));

    expect(deploys.map(({ outcome }) => outcome)).toEqual(['failed', 'promoted', 'notRecorded']);
    expect(deploys[0]).toMatchObject({
      sentence: expect.stringMatching(/canary requests failed .* proven worse than stable/),
    });
    expect(deploys[0]?.caughtAfterMs).toBeLessThanOrEqual(2 * MINUTE);
    expect(deploys[2]?.sentence).toMatch(/history has no requests of the canary track/);
  });

  it("says that Kayenta's judge is not played", async () => {
    const kayenta = '{ metrics: [{ name: error-rate, groups: [errors] }] }';
    const asked = await specOf(
      `{ source: { prometheus: { url: "${prometheus.url}" } }, interval: 60s, window: 60s, kayenta: ${kayenta} }`,
      kubernetes,
      'steps: [{ weight: 50, soak: 5m }, { weight: 100, soak: 5m }]',
    );

    const { notes } = documentOf(await run(['backtest', asked, ...clean, '--runs', '1', '--json'], { now: Date.now }));

    expect(notes).toContainEqual(expect.stringMatching(/^Kayenta's judge is not played: /u));
  });

  it('prints a table for people, and writes a page that needs nothing', async () => {
    const page = path.join(directory, 'backtest.html');
    const ran = await backtest(...clean, '--runs', '20', '--inject', '10x', '--deploys', iso(broken), '--report', page);

    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(/^shop\/checkout\n.* releases of 5 % 1m, 25 % 1m, 50 % 1m, 100 % 1m, a look every 5s\n/);
    expect(ran.out).toMatch(/NO CHANGE +RELEASES +PROMOTED +FALSE ALARM +95 % INTERVAL/);
    expect(ran.out).toMatch(/10x errors from 5 % +\d+ \(/);
    expect(ran.out).toMatch(/caught at (5|25) %/);
    expect(ran.out).toMatch(/raised no false alarm in 20 releases of this service/);
    const written = readPage(await readFile(page, 'utf8'));
    expect(dangersOf(written)).toEqual([]);
    expect(written.all('figcaption').map((element) => written.text(element))).toEqual([
      'Requests a second, as recorded',
      'Share of errors, as recorded',
      'Highest evidence against each pretend canary',
      '10x errors from 5 %: found after, by when the release began',
    ]);
    expect(written.text()).toMatch(/caught at (5|25) %/);
  });

  it('reads the same in parts as small as the server or the client wants them', async () => {
    const { metrics, intervalMs: tickMs } = planOf().analysis;
    const record = async (maxBytes: number) => {
      const history = createPrometheusHistory({ url: prometheus.url, timeoutMs: 10_000, maxBytes });
      try {
        return await history.record({
          service: 'checkout',
          namespace: 'shop',
          versions: { canary: '', stable: '' },
          metrics,
          tracks: ['canary', 'stable'],
          tickMs,
          windowMs: 60_000,
          ranges: [{ from: broken - MINUTE, ticks: 120 }],
          signal: new AbortController().signal,
          onProgress: () => undefined,
        });
      } finally {
        history.close();
      }
    };
    const whole = await record(1024 * 1024);

    expect(await record(4 * 1024)).toEqual(whole);
    const errors = whole[0]?.metrics[0];
    const total = errors?.stable.counts?.reduce(
      (n, tick) => n + (tick.kind === 'batch' && tick.counts !== null && 'bad' in tick.counts ? tick.counts.total : 0),
      0,
    );
    expect(total).toBe((80 * 120 * tickMs) / 1000);
    await expect(record(300)).rejects.toThrow(
      /answered more than 300 bytes, even for a single look at (error-rate|p95-latency)/,
    );
  });

  it('refuses to begin before the history does, and says where that is', async () => {
    const ran = await backtest('--from', iso(begin - 24 * HOUR), '--to', iso(end));

    expect(ran.code).toBe(2);
    const [, told = ''] = /the history of error-rate begins at (\S+ \S+Z): older data is gone/.exec(ran.err) ?? [];
    expect(Math.abs(Date.parse(told.replace(' ', 'T')) - begin)).toBeLessThan(10 * MINUTE);
  });

  it('says that there is nothing of the service', async () => {
    const ran = await backtest('--from', iso(begin - 48 * HOUR), '--to', iso(begin - 24 * HOUR));

    expect(ran.code).toBe(1);
    expect(ran.err).toContain(
      `to ${formatDate(begin - 24 * HOUR)} the history has nothing of error-rate of shop/checkout.`,
    );
  });
});

describe('sluice backtest', () => {
  const NOW = Date.parse('2026-11-21T12:00:00Z');
  const servers: FakeServer[] = [];
  afterAll(() => Promise.all(servers.map((server) => server.close())));

  async function backtest(
    args: readonly string[],
    source = 'source: { prometheus: { url: "http://127.0.0.1:9" } }',
  ): Promise<Ran> {
    return run(['backtest', await specOf(source), ...args], { now: () => NOW });
  }

  it.each<[string, readonly string[], RegExp]>([
    ['no beginning', [], /--from <time>/],
    [
      'a time that is none',
      ['--from', 'yesterday'],
      /--from is "yesterday", which is no time\.\n.*Write a time in UTC/,
    ],
    ['a day that is none', ['--from', '2026-02-31'], /--from is "2026-02-31", which is no time/],
    [
      'an end before the beginning',
      ['--from', '1d', '--to', '2d'],
      /--from, 2026-11-20 12:00:00Z, is not before --to, 2026-11-19/,
    ],
    [
      'an end in the future',
      ['--from', '1d', '--to', '2026-11-22'],
      /--to is 2026-11-22 00:00:00Z, and that is yet to come/,
    ],
    ['too short a time', ['--from', '2m'], /A release of this plan takes 4m00s, and .* it is 2m00s/],
    ['a fault that is none', ['--from', '1d', '--inject', 'x5'], /--inject is "x5", which is no change of the errors/],
    [
      'a change that is none',
      ['--from', '1d', '--inject', '1.0x'],
      /--inject is "1.0x", which is no change of the errors/,
    ],
    [
      'a fault at no weight',
      ['--from', '1d', '--inject', '5x@101%'],
      /--inject is "5x@101%", which is no change of the errors/,
    ],
    ['no number of runs', ['--from', '1d', '--runs', '0'], /--runs is "0", which is no number of releases/],
    [
      'deploys that are none',
      ['--from', '1d', '--deploys', '/no/such'],
      /--deploys \/no\/such is neither a list of times nor a file that is there/,
    ],
    [
      'a deploy outside',
      ['--from', '1d', '--deploys', '3d'],
      /The deploy of 2026-11-18 12:00:00Z is not between --from/,
    ],
  ])('refuses %s', async (_what, args, sentence) => {
    const ran = await backtest(args);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toMatch(sentence);
  });

  it.each([
    ['noon', /deploys:1: "noon" is no time/],
    ['2026-11-20T14:00Z 1.4.2', /deploys:1: after the time come both versions or none/],
    ['# nothing', /deploys names no deploy/],
  ])('refuses a file of deploys with %j', async (text, sentence) => {
    const file = path.join(await mkdtemp(path.join(directory, 'deploys-')), 'deploys');
    await writeFile(file, text);
    const ran = await backtest(['--from', '7d', '--deploys', file]);

    expect(ran).toMatchObject({ code: 2, err: expect.stringMatching(sentence) });
  });

  it('needs to know what was stable where the queries name a version', async () => {
    const source = 'source: { prometheus: { url: "http://127.0.0.1:9" } }\n    preset: router';
    const ran = await backtest(['--from', '1d'], source);

    expect(ran).toMatchObject({
      code: 2,
      err: expect.stringMatching(/queries of error-rate name a version.*\n.*--version 1\.4\.1/),
    });
  });

  it('says that a router has no history', async () => {
    const spec = await specOf('interval: 5s', '{ router: { instances: ["http://127.0.0.1:9"] } }');
    const ran = await run(['backtest', spec, '--from', '1d'], { now: () => NOW });

    expect(ran).toMatchObject({
      code: 1,
      err: expect.stringContaining("The in-app router's own counters have no history"),
    });
  });

  it.each<[string, () => Promise<string>, RegExp]>([
    [
      'does not answer',
      refusedUrl,
      /history of error-rate cannot be read: Prometheus at http:\S+ refused the connection/,
    ],
    [
      'refuses the query',
      () => serverOf({ status: 'error', errorType: 'execution', error: 'no more' }, 422),
      /cannot be read: Prometheus at \S+: Prometheus refused the query \(execution\): no more/,
    ],
    [
      'answers something else',
      () => serverOf({ status: 'success', data: 7 }),
      /answered JSON that is not a range of Prometheus/,
    ],
    [
      'answers a part',
      () => serverOf({ status: 'success', data: { resultType: 'matrix', result: [] }, warnings: ['a store is away'] }),
      /answered with a warning, so perhaps in part: a store is away/,
    ],
  ])('says so in a sentence when Prometheus %s', async (_what, url, sentence) => {
    const ran = await run(
      ['backtest', await specOf(`source: { prometheus: { url: "${await url()}" } }`), '--from', '1d'],
      { now: Date.now },
    );

    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(sentence);
  });

  it("asks for stable's half hour before each release and each deploy, minute by minute, once for all", async () => {
    const server = await startFakeServer(({ body }, response) => {
      const form = new URLSearchParams(body);
      const [start = 0, end = 0, step = 1] = ['start', 'end', 'step'].map((key) => Number(form.get(key)));
      const moments = Array.from({ length: Math.round((end - start) / step) + 1 }, (_, at) => start + at * step);
      const values = moments.map((at): [number, string] => [at, String(Math.floor(at * 100))]);
      const result = [{ metric: { job: 'shop', instance: 'a', le: '+Inf' }, values }];
      json(response, { status: 'success', data: { resultType: 'matrix', result } });
    });
    servers.push(server);
    const now = Math.floor(Date.now() / MINUTE) * MINUTE;
    const [from, deploy] = [now - 2 * HOUR, now - HOUR];
    const metrics = 'metrics: [{ name: error-rate, max: 5% }]';
    const spec = await specOf(`source: { prometheus: { url: "${server.url}" } }\n    ${metrics}`);

    const ran = await run(['backtest', spec, '--from', iso(from), '--runs', '3', '--deploys', iso(deploy)], {
      now: () => now,
    });

    expect(ran).toMatchObject({ code: 0 });
    const asked = server.requests
      .map(({ body }) => new URLSearchParams(body))
      .filter((form) => form.get('step') === '60.000' && !form.get('query')?.includes('5..'));
    const times = asked.map((form) => ['start', 'end'].map((key) => (Number(form.get(key)) * 1_000 - from) / MINUTE));
    expect(times[0]?.[0]).toBe(-30);
    expect(times).toContainEqual([30, 60]);
    for (const form of asked) expect(form.get('query')).toContain('track="stable"');
  });

  async function serverOf(body: unknown, status = 200): Promise<string> {
    const server = await startFakeServer((_request, response) => json(response, body, status));
    servers.push(server);
    return server.url;
  }
});
