import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { json, startFakeServer } from '../metrics/fake-server';
import type { FakeServer } from '../metrics/fake-server';
import { readPage } from '../report/page';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import type { Ran, RunOptions } from './harness';
import { aStatus } from './statuses';

/** Of each track: requests a second, and how many of a thousand are bad. */
interface Served {
  readonly perSecond: number;
  readonly badOfThousand: number | 'NaN';
}

let directory: string;
let prometheus: FakeServer;
let served: Readonly<Record<string, Served>>;
/** In each minute of the half hour before so many of 500 requests to one of stable's two processes fail, in turns. */
let failedBefore = 0;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-monitor-'));
  prometheus = await startFakeServer(({ body, path: asked }, response) => {
    const form = new URLSearchParams(body);
    const query = form.get('query') ?? '';
    const [, track = ''] = /(?:track|variant)="(\w+)"/u.exec(query) ?? [];
    const { perSecond, badOfThousand } = served[track] ?? { perSecond: 0, badOfThousand: 0 };
    if (asked.endsWith('/query_range') && form.get('step') === '60.000' && failedBefore > 0) {
      const start = Number(form.get('start'));
      const result = ['a', 'b'].map((instance, index) => ({
        metric: { job: 'shop', instance },
        values: Array.from({ length: 31 }, (_, minute): [number, string] => [
          start + 60 * minute,
          String(query.includes('5..') ? Math.floor((minute + index) / 2) * failedBefore : minute * 500),
        ]),
      }));
      return json(response, { status: 'success', data: { resultType: 'matrix', result } });
    }
    if (asked.endsWith('/query_range')) {
      const moments = ['start', 'end'].map((key) => Number(form.get(key)));
      const total = (at: number): number => Math.floor(at * perSecond);
      const text = (at: number): string => {
        if (query.includes('_bucket')) return String(total(at));
        if (!query.includes('5..')) return String(total(at));
        return badOfThousand === 'NaN' ? 'NaN' : String(Math.floor((total(at) * badOfThousand) / 1000));
      };
      const series = (more: object): object => ({
        metric: { job: 'shop', instance: 'a', ...more },
        values: moments.map((at) => [at, text(at)]),
      });
      const ends = query.includes('_bucket') ? [{ le: '0.5' }, { le: '+Inf' }] : [{}];
      const result = perSecond === 0 ? [] : ends.map(series);
      return json(response, { status: 'success', data: { resultType: 'matrix', result } });
    }
    const bad = typeof badOfThousand === 'number' ? badOfThousand / 1000 : 0;
    const value = query.includes('quantile') ? 0.12 : 60 * perSecond * (query.includes('5..') ? bad : 1);
    const result = perSecond === 0 ? [] : [{ metric: {}, value: [0, String(value)] }];
    return json(response, { status: 'success', data: { resultType: 'vector', result } });
  });
});
afterAll(async () => {
  await prometheus.close();
  await rm(directory, { recursive: true, force: true });
});

/** Stable fails in 2 of 1000, and so does a healthy canary. */
const STABLE: Served = { perSecond: 400, badOfThousand: 2 };
const HEALTHY: Served = { perSecond: 100, badOfThousand: 2 };
/** Ten times as bad, and well below the fixed limit. */
const WORSE: Served = { perSecond: 100, badOfThousand: 20 };

const KUBERNETES =
  'kubernetes: { deployment: checkout, service: checkout, traffic: { gatewayAPI: { httpRoute: checkout } } }';
const PAIR =
  'kubernetes: { deployment: checkout, service: checkout, strategy: blueGreen, traffic: { gatewayAPI: { httpRoute: checkout } } }';

async function release({ target = KUBERNETES, analysis = '' } = {}): Promise<string> {
  const file = path.join(directory, 'release.yaml');
  await writeFile(
    file,
    `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    ${target}
  analysis:
    source: { prometheus: { url: "${prometheus.url}" } }
    ${analysis}
`,
  );
  return file;
}

/** Ten looks, on a clock that goes as fast as it is asked: nothing is ever waited for. */
function monitor(file: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Ran> {
  let clock = Date.parse('2026-11-21T14:00:00Z');
  const now = (): number => (clock += 40_000);
  return run(['monitor', file, '--duration', '5m', '--interval', '30s', ...args], { now, ...options });
}

async function documentOf(...args: Parameters<typeof monitor>): Promise<Record<string, unknown>> {
  const [file, more = [], options] = args;
  return JSON.parse((await monitor(file, [...more, '--json'], options)).out) as Record<string, unknown>;
}

describe('sluice monitor of a canary beside stable', () => {
  it('fails a canary that keeps the thresholds and is proven worse than stable, and says by what', async () => {
    served = { canary: WORSE, stable: STABLE };
    const file = await release();
    const report = path.join(directory, 'monitored.html');

    const { code, out } = await monitor(file, ['--report', report]);
    const document = await documentOf(file);

    expect(code).toBe(3);
    expect(out).toMatch(/^\[30s\/300s\] error 2 % p95 120 ms rps 100\.0 ln E /mu);
    expect(out).toMatch(
      /by the evidence, error-rate proven worse than stable: \d+ of \d+ errors came from the canary/u,
    );
    expect(out).toMatch(
      /Beside stable, error-rate: .*which had 20 % of the requests.* \(ln E [\d.]+, fails at 5\.4\)/u,
    );
    expect(out).toMatch(/The evidence failed the canary after \S+: error-rate proven worse than stable/u);
    expect(out).not.toContain('broke a threshold');
    expect(document).toMatchObject({
      track: 'canary',
      verdict: 'fail',
      decidedBy: ['evidence'],
      notCompared: null,
      compared: [
        { name: 'error-rate', outcome: 'proven', evidence: { query: expect.stringContaining('http_requests_total') } },
        { name: 'p95-latency', outcome: 'kept', why: null },
      ],
    });
    const page = readPage(await readFile(report, 'utf8'));
    const text = page.text().replace(/\s+/gu, ' ');
    for (const told of [
      'Beside stable',
      'Evidence against the canary, of error-rate',
      'The evidence failed the canary',
      'by the evidence, error-rate',
    ]) {
      expect(text).toContain(told);
    }
  });

  it('rolls it back when told to, with the evidence as the reason', async () => {
    served = { canary: WORSE, stable: STABLE };
    const client = new FakeSluice(aStatus({ service: 'checkout', namespace: 'shop' }));

    const { code, out } = await monitor(await release(), ['--auto-rollback'], { client });

    expect(code).toBe(3);
    expect(out).toContain('was asked to roll back');
    expect(client.sent).toEqual([
      expect.objectContaining({
        name: 'rollback',
        message: {
          actor: expect.anything() as unknown,
          reason: expect.stringMatching(
            /^sluice monitor: by the evidence, error-rate proven worse than stable: /u,
          ) as string,
        },
      }),
    ]);
  });

  it('rolls it back with the numbers beside a reason that was given', async () => {
    served = { canary: WORSE, stable: STABLE };
    const client = new FakeSluice(aStatus({ service: 'checkout', namespace: 'shop' }));

    await monitor(await release(), ['--auto-rollback', '--reason', 'watched by CI'], { client });

    expect(client.sent).toEqual([
      expect.objectContaining({
        message: expect.objectContaining({
          reason: expect.stringMatching(
            /^watched by CI \(sluice monitor: by the evidence, error-rate .*\)$/u,
          ) as string,
        }) as unknown,
      }),
    ]);
  });

  it("divides by the clusters of stable's half hour before the watching, as a release does", async () => {
    served = { canary: HEALTHY, stable: STABLE };
    failedBefore = 10;
    const { compared } = await documentOf(await release());
    failedBefore = 0;

    expect(compared).toMatchObject([
      { name: 'error-rate', evidence: { clusters: expect.closeTo(10 / (1 - 10 / 1000), 9) as number } },
      { name: 'p95-latency' },
    ]);
  });

  it('asks about the time before samples that are late, and counts none of before the watching', async () => {
    served = { canary: WORSE, stable: STABLE };
    const askedBy = async (analysis: string): Promise<{ at: number[]; counted: string[] }> => {
      const before = prometheus.requests.length;
      expect((await monitor(await release({ analysis }))).code).not.toBe(0);
      const forms = prometheus.requests.slice(before).map(({ body }) => new URLSearchParams(body));
      return {
        at: forms.flatMap((form) => (form.has('time') ? Number(form.get('time')) : [])),
        counted: forms.flatMap((form) => (form.get('step') === '60.000' ? [] : (form.get('start') ?? []))).sort(),
      };
    };

    const [now, late] = [await askedBy(''), await askedBy('lag: 50s')];

    expect(late.at).toEqual(now.at.map((at) => at - 50));
    expect(late.counted[0]).toBe(now.counted[0]);
  });

  it('says that nothing is compared yet where all samples of the watching are late', async () => {
    served = { canary: WORSE, stable: STABLE };
    const steps = 'interval: 30s\n    lag: 20m\n  steps: [{ weight: 50, soak: 1h }, { weight: 100, soak: 1h }]';

    const { verdict, compared } = await documentOf(await release({ analysis: steps }));

    expect(verdict).toBe('pass');
    expect(compared).toMatchObject([
      { outcome: 'insufficient', why: expect.stringContaining('samples of what came since') as string },
      { outcome: 'insufficient' },
    ]);
  });

  it('passes a canary that is as good as stable by both', async () => {
    served = { canary: HEALTHY, stable: STABLE };
    const ran = await monitor(await release());

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('all kept the thresholds; nothing is proven against the canary beside stable.');
    expect(await documentOf(await release())).toMatchObject({ verdict: 'pass', decidedBy: ['thresholds', 'evidence'] });
  });

  it('is failed by a threshold as ever, and says when both failed it', async () => {
    served = { canary: WORSE, stable: STABLE };
    const both = await documentOf(await release(), ['--max-error-rate', '1%']);
    served = { canary: HEALTHY, stable: STABLE };
    const alone = await documentOf(await release(), ['--max-error-rate', '0.1%']);

    expect(both).toMatchObject({ verdict: 'fail', decidedBy: ['thresholds', 'evidence'] });
    expect(both['message']).toMatch(/broke a threshold.* The evidence failed the canary/u);
    expect(alone).toMatchObject({ verdict: 'fail', decidedBy: ['thresholds'] });
  });

  it('never acts on a dry run', async () => {
    served = { canary: WORSE, stable: STABLE };
    const metrics = 'metrics: [{ name: error-rate, max: 5%, dryRun: true }, { name: p95-latency, max: 1s }]';
    const { code, out } = await monitor(await release({ analysis: metrics }));

    expect(code).toBe(0);
    expect(out).toContain('; a dry run, which decides nothing.');
  });

  it('has no verdict, and no pass, on counters that are nonsense', async () => {
    served = { canary: { ...HEALTHY, badOfThousand: 'NaN' }, stable: STABLE };
    const ran = await monitor(await release());

    expect(ran.code).toBe(1);
    expect(ran.out).toMatch(
      /but error-rate could not be compared with stable: .* answered NaN, which is no number: no verdict\./u,
    );
  });

  it.each<[string, Parameters<typeof release>[0], readonly string[], string]>([
    ['compare is off', { analysis: 'compare: false' }, [], 'the spec has switched the comparison off (compare: false)'],
    [
      'colours are not told apart',
      { target: PAIR },
      ['--track', 'canary'],
      'which of the colours is stable a release alone knows',
    ],
    [
      'queries name a version',
      {
        analysis:
          'metrics: [{ name: error-rate, unit: ratio, max: 5%, numerator: \'sum(increase(e{status=~"5..",version="{{version}}"}[{{window}}]))\', denominator: \'sum(increase(r{track="canary",version="{{version}}"}[{{window}}]))\' }]',
      },
      ['--track', 'canary', '--version', 'shop:v2'],
      'its queries name a version, and which one is stable a release alone knows',
    ],
  ])('goes by the thresholds alone, and says so, where %s', async (_where, options, args, why) => {
    served = { canary: WORSE, stable: STABLE };
    const file = await release(options);
    const { out, err } = await monitor(file, args);

    expect(err).toBe('');
    expect(out).toContain(`Not compared with stable: ${why}.`);
    expect(await documentOf(file, args)).toMatchObject({ track: 'canary', compared: [], notCompared: why });
  });

  it('says which metric a threshold lacks, where the spec has none of its name', async () => {
    served = { stable: STABLE, canary: HEALTHY };
    const file = await release({ analysis: 'metrics: [{ name: error-rate, max: 5% }]' });
    const { out, code } = await monitor(file);

    expect(code).toBe(1);
    expect(out.replace(/\s+/gu, ' ')).toContain(
      'no data: the spec has no metric p95-latency, which its threshold is held against (it has error-rate)',
    );
  });

  it('keeps to the thresholds without a canary, and when told to watch stable', async () => {
    served = { stable: STABLE };
    const none = await documentOf(await release());
    served = { canary: WORSE, stable: STABLE };
    const told = await documentOf(await release(), ['--track', 'stable']);

    for (const document of [none, told]) {
      expect(document).toMatchObject({ track: 'stable', verdict: 'pass', decidedBy: ['thresholds'], compared: [] });
      expect(document).toMatchObject({ notCompared: null });
    }
  });

  it('says when stable had nothing to be compared with', async () => {
    served = { canary: HEALTHY };
    const ran = await monitor(await release());

    expect(ran.code).toBe(0);
    expect(ran.out).toMatch(
      /the evidence had no say \(error-rate: 0 canary requests could be compared at this weight/u,
    );
  });

  it('asks for a flag by its variants', async () => {
    served = { on: WORSE, off: STABLE };
    const file = await release({
      target: 'flag: { name: new-checkout, environment: production }',
      analysis: 'preset: flag',
    });

    expect(await documentOf(file)).toMatchObject({ track: 'canary', verdict: 'fail', decidedBy: ['evidence'] });
  });
});
