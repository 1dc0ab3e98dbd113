import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { json, refusedUrl, startFakeServer } from '../metrics/fake-server';
import type { FakeServer } from '../metrics/fake-server';
import { run } from './harness';
import type { Ran } from './harness';

interface Numbers {
  readonly requests: number;
  readonly errors: number;
  readonly canary?: number;
  /** So many bad events, and as many slow requests, come together, at one of stable's two processes. */
  readonly clusters?: number | 'unknown';
  /** Of a blue-green pair: no pod has a colour yet. */
  readonly isUnreleased?: boolean;
}

let directory: string;
let answers: Numbers | 'silent' | 'refusing';
let prometheus: FakeServer;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-plan-'));
  prometheus = await startFakeServer(({ body, path }, response) => {
    if (answers === 'silent') return;
    if (answers === 'refusing') return json(response, { status: 'error', errorType: 'bad_data', error: 'no' }, 400);
    const form = new URLSearchParams(body);
    const query = form.get('query') ?? '';
    if (path.endsWith('/query_range')) {
      const { clusters = 0, isUnreleased = false } = answers;
      const refusal = { status: 'error', errorType: 'execution', error: 'out of order' };
      return clusters === 'unknown'
        ? json(response, refusal, 422)
        : json(response, rangeOf(form, clusters, isUnreleased));
    }
    const { requests, errors, canary, isUnreleased } = answers;
    const isOfUsers = query.includes('track="stable"') || (query.includes('track="blue"') && !isUnreleased);
    const of = isOfUsers ? requests : (canary ?? 0);
    const value = query.includes('5..') ? (errors * of) / requests : of;
    const result = of === 0 ? [] : [{ metric: {}, value: [0, query.includes('quantile') ? '0.12' : String(value)] }];
    return json(response, { status: 'success', data: { resultType: 'vector', result } });
  });
});
afterAll(async () => {
  await prometheus.close();
  await rm(directory, { recursive: true, force: true });
});
beforeEach(() => {
  answers = { requests: 30_000, errors: 150 };
});

/** Two processes of stable with 500 requests between two looks each, and in turns one of them with all bad or slow ones. */
function rangeOf(form: URLSearchParams, clusters: number, isUnreleased: boolean): object {
  const [start, end, step] = ['start', 'end', 'step'].map((key) => Number(form.get(key)));
  const of = form.get('query') ?? '';
  const moments = Math.round(((end ?? 0) - (start ?? 0)) / (step ?? 1)) + 1;
  const known = of.includes('track="stable"') || (of.includes('track="green"') && !isUnreleased);
  const series = (metric: object, countAt: (at: number) => number): object => ({
    metric: { job: 'shop', ...metric },
    values: Array.from({ length: moments }, (_, at): [number, string] => [
      (start ?? 0) + at * (step ?? 1),
      String(countAt(at)),
    ]),
  });
  const result = ['a', 'b'].flatMap((instance, index) => {
    const badAt = (at: number): number => Math.floor((at + index) / 2) * clusters;
    if (!known) return [];
    if (of.includes('5..')) return [series({ instance }, badAt)];
    if (!of.includes('_bucket')) return [series({ instance }, (at) => at * 500)];
    return [
      series({ instance, le: '0.1' }, (at) => at * 500 - badAt(at)),
      ...['1', '+Inf'].map((le) => series({ instance, le }, (at) => at * 500)),
    ];
  });
  return { status: 'success', data: { resultType: 'matrix', result } };
}

const STEPS = `
    - match: { header: { x-canary: "true" } }
    - { weight: 5, soak: 5m }
    - approve: { by: [oncall], timeout: 4h }
    - { weight: 50, soak: 1m }
    - { weight: 100, soak: 1m }`;

const SHORT = '\n    - { weight: 10, soak: 1m }\n    - { weight: 100, soak: 1m }';

async function release(
  options: { url?: string; steps?: string; analysis?: string; target?: string; timeout?: string } = {},
): Promise<string> {
  const file = path.join(directory, 'release.yaml');
  const target = options.target ?? 'traffic: { gatewayAPI: { httpRoute: checkout } }';
  await writeFile(
    file,
    `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, ${target} }
  steps:${options.steps ?? STEPS}
  analysis:
    source: { prometheus: { url: "${options.url ?? prometheus.url}", timeout: ${options.timeout ?? '10s'} } }
    ${options.analysis ?? ''}
`,
  );
  return file;
}

function plan(file: string, ...args: string[]): Promise<Ran> {
  return run(['plan', file, '--image', 'ghcr.io/acme/checkout:2', '--color', 'never', ...args], { tty: 120 });
}

describe('what sluice plan says of what each step can find', () => {
  it('goes by the present traffic of the metric source', async () => {
    const ran = await plan(await release());

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('With 100 requests a second to the whole service and error-rate 0.5 %:');
    expect(ran.out).toMatch(/^5 % +1\.5k +error-rate +\d+x +\(\d+m\d\ds\) +\dm\d\ds +\dm\d\ds$/mu);
    expect(ran.out).toContain('In brackets: not within the step, but after so long if its soak were longer.');
    expect(ran.out).not.toContain('nor in a soak of');
    expect(ran.out).toMatch(/^100 % +6\.0k +no comparison$/mu);
    expect(ran.out).toMatch(/a chance of at most 1 %; in \d+ of 1000/u);
  });

  it('stands beside the plan in a document, which is as it was', async () => {
    const file = await release();
    const offline = JSON.parse((await plan(file, '--offline', '-o', 'json')).out) as Record<string, unknown>;
    const asked = JSON.parse((await plan(file, '-o', 'json')).out) as Record<string, unknown>;

    expect({ ...asked, detection: null }).toEqual({ ...offline, detection: null });
    expect(offline).toMatchObject({
      kind: 'Plan',
      detection: { traffic: null, steps: [], problem: expect.any(String) },
    });
    expect(asked['detection']).toMatchObject({
      problem: null,
      probability: 0.95,
      traffic: {
        requestsPerSecond: 100,
        source: 'asked',
        windowMs: 300_000,
        metrics: [
          { name: 'error-rate', kind: 'errors', base: 0.005, note: null },
          { name: 'p95-latency', kind: 'latency', base: 0.05, note: null },
        ],
      },
      steps: [
        { weight: 5, canaryRequests: 1_500, metrics: [{ smallestRise: expect.any(Number) }, { name: 'p95-latency' }] },
        { weight: 50, canaryRequests: 3_000 },
        { weight: 100, metrics: [] },
      ],
      falseRollBacks: { bound: 0.01, releases: 1_000 },
    });
  });

  it('tells what no step has room for, and what no soak of a day finds', async () => {
    const file = await release({ steps: SHORT });
    const args = ['--traffic', '1/s', '--base', '0.1%'];
    const { out } = await plan(file, ...args);
    const { detection } = JSON.parse((await plan(file, ...args, '-o', 'json')).out) as {
      detection: { steps: { metrics: { times: { medianMs: number | null; beyondMs: number | null }[] }[] }[] };
    };
    const roomy = (await plan(await release({ steps: SHORT }), '--traffic', '5000/s', '--base', '0.5%')).out;

    expect(out).toMatch(/^10 % +6 +error-rate +nothing +— +\(\d+h\d\dm\) +\(\d+h\d\dm\)$/mu);
    expect(out.replace(/\s+/gu, ' ')).toMatch(
      /In brackets: not within the step, but after so long if its soak were longer\. —: not within the step, nor in a soak of 1d\./u,
    );
    const [two, five] = detection.steps[0]?.metrics[0]?.times ?? [];
    expect(two).toEqual({ rise: 2, medianMs: null, beyondMs: null });
    expect(five).toEqual({ rise: 5, medianMs: null, beyondMs: expect.any(Number) as number });
    expect(roomy).toMatch(/^10 % +\S+k +error-rate +\S+x +\S+s +\S+s +\S+s$/mu);
    expect(roomy).not.toMatch(/brackets|nor in a soak/u);
  });

  it('is the same by hand', async () => {
    const file = await release();
    const steps = async (...args: string[]): Promise<unknown> =>
      (JSON.parse((await plan(file, ...args, '-o', 'json')).out) as { detection: { steps: unknown } }).detection.steps;
    const before = prometheus.requests.length;

    const given = await steps('--traffic', '6000/m', '--base', '0.5%', '--offline');
    expect(prometheus.requests).toHaveLength(before);
    expect(given).toEqual(await steps());
    expect(await steps('--traffic', '100/s')).toEqual(given);
    expect(await steps('--base', '0.5%')).toEqual(given);
  });

  it('finds as much later what it sees later, and asks for traffic that has arrived', async () => {
    const steps = '\n    - { weight: 20, soak: 2m }\n    - { weight: 100, soak: 2m }';
    const foundBy = async (analysis: string): Promise<(number | null)[]> => {
      const ran = await plan(await release({ steps, analysis }), '-o', 'json');
      const { detection } = JSON.parse(ran.out) as {
        detection: { steps: { metrics: { times: { medianMs: number | null }[] }[] }[] };
      };
      return detection.steps[0]?.metrics[0]?.times.map(({ medianMs }) => medianMs) ?? [];
    };
    const before = prometheus.requests.length;

    const [now, late] = [await foundBy(''), await foundBy('lag: 20s')];

    const tenfold = now.at(-1) ?? null;
    expect(tenfold).not.toBeNull();
    expect(late.at(-1)).toBe((tenfold ?? 0) + 20_000);
    const asked = prometheus.requests.slice(before).map(({ body }) => Number(new URLSearchParams(body).get('time')));
    expect(Math.min(...asked.filter((at) => at > 0))).toBeLessThanOrEqual(Date.now() / 1000 - 20);
  });

  it("reckons with the clusters that are seen between stable's processes now, where they are more than the plan says", async () => {
    const file = await release();
    const metricsOf = async (...args: string[]): Promise<Record<string, unknown>[][]> => {
      const { detection } = JSON.parse((await plan(file, ...args, '-o', 'json')).out) as {
        detection: { traffic: { metrics: Record<string, unknown>[] }; steps: { metrics: Record<string, unknown>[] }[] };
      };
      return [detection.traffic.metrics, detection.steps[0]?.metrics ?? []];
    };
    answers = { requests: 30_000, errors: 150, clusters: 2 };
    const earlier = prometheus.requests.length;
    const [few = [], before = []] = await metricsOf();
    // Minute by minute, whatever the interval, as a release asks.
    const ranges = prometheus.requests.slice(earlier).filter(({ path: asked }) => asked.endsWith('/query_range'));
    const forms = ranges.map(({ body }) => new URLSearchParams(body));
    expect(new Set(forms.map((form) => Number(form.get('step'))))).toEqual(new Set([60]));
    expect(new Set(forms.map((form) => Number(form.get('end')) - Number(form.get('start'))))).toEqual(new Set([1_800]));
    answers = { requests: 30_000, errors: 150, clusters: 10 };
    const [many = [], after = []] = await metricsOf();
    const { out } = await plan(file);

    // Pearson's chi-squared of ten of 500 beside none of 500 is 10 / (1 - 10 / 1000), with one degree of freedom.
    expect(few[0]).toMatchObject({ name: 'error-rate', clusters: expect.closeTo(2 / (1 - 2 / 1000), 9) as number });
    expect(many[0]).toMatchObject({ name: 'error-rate', clusters: expect.closeTo(10 / (1 - 10 / 1000), 9) as number });
    // Of the boundary that one in a hundred requests is slower than, and not of the one that none is.
    expect(many[1]).toMatchObject({ name: 'p95-latency', clusters: expect.closeTo(10 / (1 - 10 / 1000), 9) as number });
    for (const index of [0, 1])
      expect(after[index]?.['smallestRise'] ?? Infinity).toBeGreaterThan(before[index]?.['smallestRise'] as number);
    expect(out.replace(/\s+/gu, ' ')).toContain(
      "error-rate: bad events come in clusters of about 10.1 between stable's processes now; evidence is reckoned with that, as in a release, and not with the 2 of the plan.",
    );
    expect(out.replace(/\s+/gu, ' ')).toContain(
      "p95-latency: slow requests come in clusters of about 10.1 between stable's processes now;",
    );
    expect((await plan(file, '--suggest')).out).toContain('# error-rate: bad events come in clusters of about 10.1');
  });

  it('keeps to the clusters of the plan where fewer are seen, and both colours of a pair are asked', async () => {
    answers = { requests: 30_000, errors: 150, clusters: 1 };
    const fewer = await plan(await release({ steps: SHORT }));
    const target = 'strategy: blueGreen, traffic: { gatewayAPI: { httpRoute: checkout } }';
    answers = { requests: 30_000, errors: 150, clusters: 10 };
    const pair = await plan(await release({ target, steps: SHORT }));

    expect(fewer.out).not.toContain('clusters');
    expect(pair.out).toContain('error-rate: bad events come in clusters of about 10.1');
  });

  it('says when the clusters could not be asked for, and goes by those of the plan', async () => {
    answers = { requests: 30_000, errors: 150, clusters: 'unknown' };
    const { code, out } = await plan(await release({ steps: SHORT }));

    expect(code).toBe(0);
    expect(out).toMatch(/^10 % +600 +error-rate +\d+x/mu);
    expect(out.replace(/\s+/gu, ' ')).toMatch(
      /error-rate: how bad events cluster between stable's processes could not be asked for, so evidence is reckoned with the 2 of the plan: The history of error-rate cannot be read: Prometheus at \S+: Prometheus refused the query \(execution\): out of order\./u,
    );
  });

  it('asks for a flag by its variants', async () => {
    answers = { requests: 0, errors: 0 };
    const file = path.join(directory, 'flag.yaml');
    const text = await readFile(await release({ analysis: 'preset: flag' }), 'utf8');
    await writeFile(
      file,
      text
        .replace(/^ {4}kubernetes: .*$/mu, '    flag: { name: new-checkout, environment: production }')
        .replace(/^ +- match: .*\n/mu, ''),
    );
    const before = prometheus.requests.length;

    const ran = await run(['plan', file, '--version', 'v2'], { tty: 120 });

    expect(ran).toMatchObject({ code: 0, err: '' });
    const asked = prometheus.requests.slice(before).map(({ body }) => decodeURIComponent(body));
    for (const variant of ['on', 'off']) expect(asked.some((body) => body.includes(`variant="${variant}"`))).toBe(true);
    expect(asked.filter((body) => /variant="(?:stable|canary)"/u.test(body))).toEqual([]);
  });

  it('takes both colours of a blue-green pair together, whichever has the users', async () => {
    answers = { requests: 20_000, errors: 100, canary: 10_000 };
    const steps = '\n    - { weight: 10, soak: 1m }\n    - { weight: 100, soak: 1m }';
    const file = await release({
      target: 'strategy: blueGreen, traffic: { gatewayAPI: { httpRoute: checkout } }',
      steps,
    });
    const { out } = await plan(file, '-o', 'json');

    expect(JSON.parse(out)).toMatchObject({
      detection: { traffic: { requestsPerSecond: 100, metrics: [{ base: 0.005 }, {}] } },
    });
  });

  it('asks for a blue-green pair before its first release, whose pods carry no colour', async () => {
    answers = { requests: 30_000, errors: 150, clusters: 10, isUnreleased: true };
    const target = 'strategy: blueGreen, traffic: { gatewayAPI: { httpRoute: checkout } }';
    const { out } = await plan(await release({ target, steps: SHORT }), '-o', 'json');

    expect(JSON.parse(out)).toMatchObject({
      detection: { traffic: { requestsPerSecond: 100, metrics: [{ base: 0.005 }, {}] } },
    });
    expect(out).toContain('error-rate: bad events come in clusters of about 10.1');
  });

  it.each<[string, Numbers | 'silent' | 'refusing', RegExp]>([
    ['does not answer in time', 'silent', /could not be asked for: Prometheus at \S+ timed out after 300 ms\./u],
    ['refuses', 'refusing', /could not be asked for: Prometheus refused the query \(bad_data\): no\./u],
    ['has no requests', { requests: 0, errors: 0 }, /counted no requests in the last 5m/u],
  ])('is one sentence when the source %s', async (_how, state, sentence) => {
    answers = state;
    const ran = await plan(await release(state === 'silent' ? { timeout: '300ms' } : {}));

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('weight 50 %');
    expect(ran.out.replace(/\s+/gu, ' ')).toMatch(sentence);
  });

  it('says when the source has not answered within the time that a person waits, and what to do', async () => {
    answers = 'silent';
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    // The time of the whole question is over at once; a single request has all of its own.
    const patience = jest
      .spyOn(AbortSignal, 'timeout')
      .mockImplementation((ms) => (ms === 10_000 ? AbortSignal.abort(new Error('time is over')) : timeout(ms)));
    try {
      const ran = await plan(await release({ timeout: '30s' }));

      expect(ran).toMatchObject({ code: 0, err: '' });
      expect(ran.out.replace(/\s+/gu, ' ')).toContain(
        'could not be asked for: the metric source had not answered within 10s; say it with --traffic and --base, or leave it out with --offline.',
      );
      expect(ran.out).not.toContain('cancelled');
    } finally {
      patience.mockRestore();
    }
  });

  it('is one sentence when nobody is there, or the token is missing', async () => {
    const gone = await plan(await release({ url: await refusedUrl() }));
    const file = await release();
    const withToken = path.join(directory, 'token.yaml');
    await writeFile(
      withToken,
      (await readFile(file, 'utf8')).replace('timeout: 10s', 'tokenEnv: SLUICE_PROMETHEUS_TOKEN'),
    );

    expect(gone).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringContaining('could not be asked for: Prometheus at'),
    });
    expect(await plan(withToken)).toMatchObject({ code: 0, out: expect.stringContaining('SLUICE_PROMETHEUS_TOKEN') });
  });

  it('says when one bad request is only assumed, when a step can tell nothing, and when nothing is compared', async () => {
    answers = { requests: 900, errors: 0 };
    const few = await plan(await release({ analysis: 'metrics: [{ name: error-rate, max: 5% }]' }));
    const alone = await plan(
      await release({ analysis: 'compare: false\n    metrics: [{ name: error-rate, max: 5% }]' }),
    );

    expect(few.out).toContain('error-rate: nothing bad among the last 900 requests; one is taken to have been there.');
    expect(few.out).toContain('⚠ 5 %: This step can tell nothing: no rise up to 50 times is found in it with 95 %');
    expect(alone.out).toContain('No metric is compared with stable');
  });

  it('says what becomes of a ratio whose events it cannot count, and does not say that nothing is compared', async () => {
    const grown = 'sum(increase(x_total{track="{{track}}"}[{{window}}]))';
    const own = `{ name: own, numerator: '${grown} or vector(0)', denominator: '${grown}', max: 5% }`;
    const alone = (await plan(await release({ analysis: `metrics: [${own}]` }))).out.replace(/\s+/gu, ' ');
    const beside = await plan(await release({ analysis: `metrics: [{ name: error-rate, max: 5% }, ${own}]` }));

    expect(alone).toContain(
      'own max 5%, compared with stable at each look (alpha 0.01 each time, 1.25 times tolerated)',
    );
    expect(alone).not.toContain('No metric is compared with stable');
    expect(alone).toContain('own is compared with stable at each look anew. What that finds is not played');
    const warning = '⚠ The events of own cannot be counted from its query, so it is compared';
    expect(alone).toContain(warning);
    expect(alone).toContain('Better: sum(increase(SERIES{…}[{{window}}])) and nothing around it');
    expect(beside.out).toMatch(/^5 % +1\.5k +error-rate/mu);
    expect(beside.out).toContain(warning);
  });

  it('says how often fixed limits roll a healthy version back, and warns where that is more than alpha', async () => {
    const file = await release({
      steps:
        '\n    - { weight: 5, soak: 1m }\n    - { weight: 25, soak: 1m }\n    - { weight: 50, soak: 1m }\n    - { weight: 100, soak: 1m }',
      analysis: 'metrics: [{ name: error-rate, max: 5% }, { name: p95-latency, max: 1s }]',
    });
    const near = (await plan(file, '--traffic', '20/s', '--base', '3%')).out.replace(/\s+/gu, ' ');
    const far = (await plan(file, '--traffic', '1000/s', '--base', '0.5%')).out.replace(/\s+/gu, ' ');
    const { detection } = JSON.parse((await plan(file, '--traffic', '20/s', '--base', '3%', '-o', 'json')).out) as {
      detection: object;
    };

    expect(near).toMatch(
      /a chance of at most 1 %; in 0 of 1000 simulated releases it was\. The fixed limits of error-rate rolled it back in (6\d\d|7\d\d) of 1000, evidence and limits together in \1\./u,
    );
    expect(near).toMatch(
      /⚠ error-rate: max 5 % alone rolls a healthy version back in \d+ of 1000 simulated releases, more than the 1 % that alpha leaves the evidence: 3 % of its events are bad in a healthy one, too\. Move the limit away from what is usual, raise failureLimit or minRequests,/u,
    );
    expect(near).toContain('Not played are the limits of p95-latency: how its values spread is not known.');
    expect(far).toContain('The fixed limits of error-rate rolled it back in 0 of 1000');
    expect(far).not.toContain('⚠');
    expect(detection).toMatchObject({
      falseRollBacks: { failed: 0, limits: { releases: 1_000, metrics: [{ name: 'error-rate' }] } },
      limitsNotPlayed: ['p95-latency'],
      warnings: [expect.stringContaining('error-rate: max 5 % alone')],
    });
  });

  it('reckons limits by the look of the plan: lower limits, failures that are tolerated, and not what is only shown', async () => {
    const count = async (metrics: string, more = ''): Promise<(string | undefined)[]> => {
      const file = await release({ steps: SHORT, analysis: `metrics: [${metrics}]${more}` });
      const { out } = await plan(file, '--traffic', '100/s', '--base', '3%');
      return [...(/limits of (\S+) rolled it back in (\d+) of/u.exec(out.replace(/\s+/gu, ' ')) ?? [])].slice(1);
    };
    const track = '{track="{{track}}"}';
    const own = `name: success, bad: 'sum by (instance) (good${track})', total: 'sum by (instance) (all${track})'`;

    const [, strict] = await count('{ name: error-rate, max: 5% }');
    const [, lenient] = await count('{ name: error-rate, max: 5% }', '\n    failureLimit: 3');
    const [, wide] = await count('{ name: error-rate, max: 5% }', '\n    minRequests: 500');

    expect(await count(`{ ${own}, min: 95% }`)).toEqual(['success', strict]);
    expect(Number(lenient)).toBeLessThan(Number(strict));
    expect(Number(wide)).toBeLessThan(Number(strict));
    expect(await count('{ name: error-rate }, { name: p95-latency, max: 1s, dryRun: true }')).toEqual([
      'error-rate',
      strict,
    ]);
  });

  it.each([
    [['--traffic', '100'], '--traffic is "100", which is no rate above 0.'],
    [['--traffic', '0/s'], '--traffic is "0/s", which is no rate above 0.'],
    [['--traffic', '-5/s'], '--traffic is "-5/s", which is no rate above 0.'],
    [['--traffic', '5/d'], '--traffic is "5/d", which is no rate above 0.'],
    [['--base', '0.5'], '--base is "0.5", which has no percent sign.'],
    [['--base', '0%'], '--base is "0%", of which there are no multiples.'],
    [['--base', '100%'], '--base is "100%", of which there are no multiples.'],
    [['--rise', '5x'], '--rise says what --suggest is about, and --suggest is not given.'],
    [['--suggest', '--rise', '1x'], '--rise is "1x", which is no rise.'],
    [['--suggest', '--rise', 'five'], '--rise is "five", which is no rise.'],
    [['--suggest', '--offline'], 'No soak can be proposed. The present traffic was not asked for (--offline)'],
  ])('refuses %j in a sentence', async (args, sentence) => {
    const ran = await plan(await release(), ...args);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(sentence);
  });
});

describe('sluice plan --suggest', () => {
  it('prints steps that can be pasted, with the soaks that find the rise', async () => {
    const { code, out, err } = await plan(await release(), '--suggest', '--rise', '10x');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain('# Soaks with which a rise of 10 times is found with 95 % probability,');
    const { steps } = parse(out) as { steps: unknown[] };
    expect(steps).toEqual([
      { match: { header: { 'x-canary': 'true' } } },
      { weight: 5, soak: expect.stringMatching(/^\d+m$/u) },
      { approve: { by: ['oncall'], timeout: '4h', onExpiry: 'rollback' } },
      { weight: 50, soak: expect.stringMatching(/^\d+m$/u) },
      { weight: 100, soak: '1m' },
    ]);

    const pasted = await release({
      steps: `\n${out
        .replace(/^#.*\n/gmu, '')
        .replace('steps:\n', '')
        .replace(/^/gmu, '  ')}`,
    });
    const { detection } = JSON.parse((await plan(pasted, '-o', 'json')).out) as {
      detection: { steps: { metrics: { smallestRise: number }[] }[] };
    };
    const found = detection.steps.flatMap(({ metrics }) => metrics.map(({ smallestRise }) => smallestRise));
    expect(found).toHaveLength(4);
    expect(Math.max(...found)).toBeLessThanOrEqual(10);
  });

  it('prints a header without a value as its name alone', async () => {
    const target = 'traffic: { nginx: { ingress: checkout } }';
    const steps = STEPS.replace('{ x-canary: "true" }', 'x-canary');
    const { out } = await plan(await release({ target, steps }), '--suggest', '--rise', '10x');

    expect((parse(out) as { steps: unknown[] }).steps[0]).toEqual({ match: { header: 'x-canary' } });
  });

  it('says which step no soak within a day is long enough for', async () => {
    const args = ['--suggest', '--traffic', '1/s', '--base', '0.1%'];
    const { out } = await plan(await release(), ...args);
    const document = JSON.parse((await plan(await release(), ...args, '-o', 'json')).out) as object;

    expect(out).toContain('# no soak within a day finds 5 times of error-rate at this weight: left as it was');
    expect(document).toMatchObject({
      kind: 'Plan',
      suggestion: { rise: 5, yaml: out, steps: [{ weight: 5, soakMs: 300_000, found: 'none' }, {}, {}] },
    });
  });
});
