import fc from 'fast-check';
import { stringify } from 'yaml';
import { OUTCOME_BOUNDS_MS } from '../../src/flags/defaults';
import { LATENCY_BOUNDS_MS } from '../../src/router/defaults';
import { LAST_BOUNDARY_SECONDS } from '../../src/spec/defaults';
import { describeLimits, describePlan } from '../../src/spec/describe-plan';
import { gatheringPolicy } from '../../src/spec/gathering-policy';
import { plan, planHash } from '../../src/spec/plan';
import type { Plan } from '../../src/spec/plan-types';
import { formatDuration } from '../../src/spec/units';
import { DESIGN_EXAMPLE, prometheusDocument, routerDocument, validSpec } from './documents';

const IMAGE = 'ghcr.io/acme/checkout:1.4.2';

describe('plan', () => {
  it('of the least document has every default', () => {
    const made = plan(validSpec(routerDocument()), 'v2');

    expect(made).toEqual({
      apiVersion: 'sluice.dev/v1',
      kind: 'Plan',
      service: 'shop',
      namespace: 'default',
      version: 'v2',
      target: {
        kind: 'router',
        instances: ['http://127.0.0.1:3000'],
        tokenEnv: 'SLUICE_ROUTER_TOKEN',
        overrideSecretEnv: 'SLUICE_ROUTER_OVERRIDE_SECRET',
      },
      steps: [
        { kind: 'deploy', name: 'deploy', timeoutMs: 600_000 },
        { kind: 'weight', name: 'weight 5 %', weight: 5, soakMs: 60_000 },
        { kind: 'weight', name: 'weight 25 %', weight: 25, soakMs: 60_000 },
        { kind: 'weight', name: 'weight 50 %', weight: 50, soakMs: 60_000 },
        { kind: 'weight', name: 'weight 100 %', weight: 100, soakMs: 60_000 },
        { kind: 'promote', name: 'promote', handBack: null, timeoutMs: 600_000 },
      ],
      analysis: {
        source: { kind: 'router' },
        intervalMs: 5_000,
        initialDelayMs: 0,
        windowMs: 60_000,
        minMeasurements: 3,
        minRequests: 20,
        failureLimit: 0,
        consecutiveErrorLimit: 4,
        onNoData: { extendMs: 300_000, then: 'pause' },
        metrics: [
          {
            name: 'error-rate',
            unit: 'ratio',
            max: 0.05,
            min: null,
            maxRatio: null,
            query: { kind: 'builtin', metric: 'error-rate' },
            counters: { kind: 'builtin', metric: 'errors' },
          },
          {
            name: 'p95-latency',
            unit: 'seconds',
            max: 1,
            min: null,
            maxRatio: null,
            query: { kind: 'builtin', metric: 'latency', quantile: 0.95 },
            counters: { kind: 'builtin', metric: 'latency' },
          },
        ],
        compare: { alpha: 0.01, tolerate: 1.25 },
        routingCheck: 'warn',
        // Three stages of 60 s with a stable track beside the canary, a look each 5 s.
        evidence: { alpha: 0.01, tolerate: 1.25, clusters: 2, plannedBatches: 36, promotion: null },
      },
      onFailure: 'rollback',
      onConflict: 'reject',
      notify: { slack: null },
      hash: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    });
  });

  it("of the design page's example", () => {
    const made = plan(validSpec(DESIGN_EXAMPLE), IMAGE);

    expect(made.target).toEqual({
      kind: 'kubernetes',
      namespace: 'shop',
      serviceName: 'checkout',
      deployment: 'checkout',
      service: 'checkout',
      strategy: 'canary',
      traffic: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
      container: null,
      port: null,
      resolveImage: 'registry',
      config: 'keep',
      drainMs: 30_000,
      keepOldMs: 600_000,
      onForeignEdit: 'reassert',
    });
    expect(made.steps.map((step) => step.name)).toEqual([
      'deploy',
      'smoke test',
      'weight 5 %',
      'weight 25 %',
      'approval',
      'weight 50 %',
      'weight 100 %',
      'promote',
    ]);
    expect(made.analysis.source).toEqual({
      kind: 'prometheus',
      url: 'http://prometheus:9090',
      tokenEnv: null,
      timeoutMs: 10_000,
    });
    expect(made.notify).toEqual({ slack: { channel: '#deploys' } });
  });

  it('keeps a part of alpha for new stable pods, where they are watched, and nowhere else', () => {
    const shareOf = (text: string): number | undefined => plan(validSpec(text), IMAGE).analysis.evidence?.stableShare;
    const blueGreen = DESIGN_EXAMPLE.replace('service: checkout', 'service: checkout\n      strategy: blueGreen');

    expect(shareOf(DESIGN_EXAMPLE)).toBe(0.1);
    expect(gatheringPolicy(plan(validSpec(DESIGN_EXAMPLE), IMAGE).analysis)?.stableShare).toBe(0.1);
    expect(shareOf(blueGreen)).toBeUndefined();
    expect(plan(validSpec(routerDocument()), 'v2').analysis.evidence).not.toHaveProperty('stableShare');
  });

  it('moves all traffic at once for blue-green', () => {
    const text = DESIGN_EXAMPLE.replace('service: checkout', 'service: checkout\n      strategy: blueGreen').replace(
      / {2}steps:[\s\S]*(?= {2}analysis:)/,
      '',
    );

    const weights = plan(validSpec(text), IMAGE).steps.flatMap((step) => (step.kind === 'weight' ? [step.weight] : []));

    expect(weights).toEqual([100]);
  });

  it.each([
    ['steps: [{ weight: 100, soak: 2s }]', { intervalMs: 2_000, minMeasurements: 1 }],
    ['steps: [{ weight: 50, soak: 12s }, { weight: 100, soak: 60s }]', { intervalMs: 5_000, minMeasurements: 2 }],
    ['steps: [{ weight: 100, soak: 1h }]', { intervalMs: 5_000, minMeasurements: 3 }],
  ])('fits the default interval and minimum of measurements to the soaks: %s', (steps, expected) => {
    expect(plan(validSpec(routerDocument(`  ${steps}\n`)), 'v2').analysis).toMatchObject(expected);
  });

  it('reads own metrics, and ready-made ones with the limit that is given instead of the usual one', () => {
    const text = prometheusDocument(`    metrics:
      - { name: error-rate, maxRatio: 2 }
      - { name: p99-latency, max: 250ms, min: 1ms }
      - { name: depth, query: 'max(depth{v="{{version}}"})', requests: sum(n), unit: count, max: 12.5 }
      - { name: own, numerator: a, denominator: b, max: 0.25% }
    compare: false
`);

    expect(plan(validSpec(text), 'v2').analysis.metrics).toEqual([
      {
        name: 'error-rate',
        unit: 'ratio',
        max: null,
        min: null,
        maxRatio: 2,
        query: {
          kind: 'ratio',
          numerator:
            'sum(increase(canary_errors_total{cohort="{{track}}",version="{{version}}",job="shop"}[{{window}}]))',
          denominator:
            'sum(increase(canary_requests_total{cohort="{{track}}",version="{{version}}",job="shop"}[{{window}}]))',
        },
      },
      {
        name: 'p99-latency',
        unit: 'seconds',
        max: 0.25,
        min: 0.001,
        maxRatio: null,
        query: {
          kind: 'value',
          expression:
            'histogram_quantile(0.99, sum by (le) (rate(canary_latency_seconds_bucket{cohort="{{track}}",version="{{version}}",job="shop"}[{{window}}])))',
          requests:
            'sum(increase(canary_latency_seconds_count{cohort="{{track}}",version="{{version}}",job="shop"}[{{window}}]))',
        },
      },
      {
        name: 'depth',
        unit: 'count',
        max: 12.5,
        min: null,
        maxRatio: null,
        query: { kind: 'value', expression: 'max(depth{v="{{version}}"})', requests: 'sum(n)' },
      },
      {
        name: 'own',
        unit: 'ratio',
        max: 0.0025,
        min: null,
        maxRatio: null,
        query: { kind: 'ratio', numerator: 'a', denominator: 'b' },
      },
    ]);
  });

  it('knows what to count of its own metrics, and of those whose growth is asked for', () => {
    const text = prometheusDocument(`    metrics:
      - { name: orders, bad: 'failed{track="{{track}}"}', total: 'orders{track="{{track}}"}', objective: 1%, critical: true, note: ask the orders team }
      - { name: grown, numerator: 'sum(increase(bad_total{t="{{track}}"}[{{window}}]))', denominator: 'sum( increase(all_total[ {{window}} ]) )' }
      - { name: success, numerator: 'sum(increase(good_total[{{window}}]))', denominator: 'sum(increase(all_total[{{window}}]))', min: 99% }
      - { name: rated, numerator: 'sum(rate(bad_total[{{window}}]))', denominator: 'sum(rate(all_total[{{window}}]))', dryRun: true }
      - { name: slow, query: 'max(s)', unit: seconds, max: 1s, buckets: 'sum by (job, instance, le) (h_bucket)', objective: 2% }
    until: evidence
    promotion: { exclude: 3 }
`);

    const { analysis } = plan(validSpec(text), 'v2');
    const { metrics, evidence } = analysis;

    expect(gatheringPolicy(analysis)?.metrics.at(-1)).toEqual({
      ...{ name: 'slow', kind: 'latency', objective: 0.02, slowerThan: 1, dryRun: false },
    });
    expect(gatheringPolicy(analysis)?.metrics[0]).not.toHaveProperty('slowerThan');
    expect(metrics.map(({ counters }) => counters)).toEqual([
      { kind: 'events', bad: 'failed{track="{{track}}"}', total: 'orders{track="{{track}}"}' },
      {
        kind: 'events',
        bad: 'sum by (job, instance) (bad_total{t="{{track}}"})',
        total: 'sum by (job, instance) (all_total)',
      },
      {
        kind: 'events',
        bad: 'sum by (job, instance) (good_total)',
        total: 'sum by (job, instance) (all_total)',
        good: true,
      },
      undefined,
      { kind: 'histogram', buckets: 'sum by (job, instance, le) (h_bucket)' },
    ]);
    expect(metrics[0]).toMatchObject({
      objective: 0.01,
      critical: true,
      note: 'ask the orders team',
      query: {
        numerator: 'sum(increase((failed{track="{{track}}"})[{{window}}:5s]))',
        denominator: 'sum(increase((orders{track="{{track}}"})[{{window}}:5s]))',
      },
    });
    expect(metrics[3]).toMatchObject({ dryRun: true });
    expect(evidence?.promotion).toEqual({ exclude: 3, beta: 0.05 });
  });

  it('says of a latency with an objective what is held against it, up to where the own histograms end', () => {
    const text = routerDocument('  analysis: { metrics: [{ name: p95-latency, max: 30s, objective: 1% }] }\n');

    const made = plan(validSpec(text), 'v2');

    expect(made.analysis.metrics.map((metric) => describeLimits(metric, made.analysis))).toEqual([
      expect.stringMatching(/^max 30s, objective 1% slower than max, /u),
    ]);
    expect(LATENCY_BOUNDS_MS.at(-1)).toBe(LAST_BOUNDARY_SECONDS * 1000);
    expect(OUTCOME_BOUNDS_MS.at(-1)).toBe(LAST_BOUNDARY_SECONDS * 1000);
  });

  it('takes a scripted source only when asked', () => {
    const phases = [{ fromWeight: 0, errorRate: 0, p95: 0.1 }];

    const made = plan(validSpec(routerDocument()), 'v2', { simulate: phases });

    expect(made.analysis.source).toEqual({ kind: 'simulated', phases });
    expect(describePlan(made).notes.join(' ')).toContain('SIMULATED');
  });

  it('is frozen through and through, and leaves the spec as it was', () => {
    const spec = validSpec(DESIGN_EXAMPLE);
    const before = structuredClone(spec);

    const made = plan(spec, IMAGE);

    expect(isDeeplyFrozen(made)).toBe(true);
    expect(spec).toEqual(before);
    expect(Object.isFrozen(spec.spec.steps?.[2]?.approve?.by)).toBe(false);
  });

  it('has a hash of its content, not of the order of its keys', () => {
    const made = plan(validSpec(DESIGN_EXAMPLE), IMAGE);
    const reversed = Object.fromEntries(Object.entries(made).reverse()) as unknown as Plan;

    expect(planHash(made)).toBe(made.hash);
    expect(planHash(reversed)).toBe(made.hash);
    expect(planHash({ ...made, onFailure: 'pause' })).not.toBe(made.hash);
    expect(plan(validSpec(DESIGN_EXAMPLE), `${IMAGE}-1`).hash).not.toBe(made.hash);
  });

  it('survives JSON unchanged', () => {
    const made = plan(validSpec(DESIGN_EXAMPLE), IMAGE);

    expect(JSON.parse(JSON.stringify(made))).toEqual(made);
  });
});

describe('any valid spec', () => {
  const approval = fc.record({
    approve: fc.record({ timeout: fc.integer({ min: 1_000, max: 1e8 }).map(formatDuration) }),
  });
  const soak = fc.integer({ min: 1_000, max: 7 * 86_400_000 });
  const document = fc
    .record({
      weights: fc
        .uniqueArray(fc.integer({ min: 1, max: 99 }), { maxLength: 10 })
        .map((list) => [...list.sort((a, b) => a - b), 100]),
      soaks: fc.array(soak, { minLength: 11, maxLength: 11 }),
      approvals: fc.array(fc.tuple(fc.nat(12), approval), { maxLength: 3 }),
      smokeTest: fc.constantFrom(false, { path: '/healthz' }),
    })
    .map(({ weights, soaks, approvals, smokeTest }) => {
      const steps: object[] = weights.map((weight, index) => ({ weight, soak: formatDuration(soaks[index] ?? 1_000) }));
      for (const [at, step] of approvals) steps.splice(Math.min(at, steps.length), 0, step);
      const soakMs = soaks.slice(0, weights.length).reduce((total, ms) => total + ms, 0);
      return { text: routerDocument(stringify({ smokeTest, steps }).replace(/^/gm, '  ')), soakMs, weights };
    });

  it('begins with deploy, ends with promote, rises strictly to 100, and takes as long as its soaks', () => {
    fc.assert(
      fc.property(document, ({ text, soakMs, weights }) => {
        const made = plan(validSpec(text), 'v2');

        expect(made.steps[0]?.kind).toBe('deploy');
        expect(made.steps.at(-1)?.kind).toBe('promote');
        expect(made.steps.filter((step) => step.kind === 'deploy' || step.kind === 'promote')).toHaveLength(2);
        expect(made.steps.flatMap((step) => (step.kind === 'weight' ? [step.weight] : []))).toEqual(weights);
        const described = describePlan(made);
        expect(described.totals.soakMs).toBe(soakMs);
        expect(described.totals.longestMs).toBeGreaterThan(soakMs);
        expect(described.rows).toHaveLength(made.steps.length);
      }),
      { numRuns: 50 },
    );
  });

  it('gives the same plan twice, and room for what it asks of each soak', () => {
    fc.assert(
      fc.property(document, ({ text }) => {
        const made = plan(validSpec(text), 'v2');
        const { intervalMs, initialDelayMs, minMeasurements } = made.analysis;

        expect(plan(validSpec(text), 'v2')).toEqual(made);
        for (const step of made.steps) {
          if (step.kind === 'weight') {
            expect(Math.floor((step.soakMs - initialDelayMs) / intervalMs)).toBeGreaterThanOrEqual(minMeasurements);
          }
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe('the version', () => {
  const digest = `sha256:${'a1'.repeat(32)}`;

  it.each(['v2', '1.4.2', 'A', '2024-05-01_x', 'a'.repeat(128)])('of a router may be %.20s', (version) => {
    expect(plan(validSpec(routerDocument()), version).version).toBe(version);
  });

  it.each(['', '.v2', 'v 2', 'v2"', 'a/b', 'a'.repeat(129), 'ü', 'v2\n'])('of a router may not be %j', (version) => {
    expect(() => plan(validSpec(routerDocument()), version)).toThrow(/is not a version's name/);
  });

  it.each([
    'checkout:1.4.2',
    'acme/checkout:1.4.2',
    'ghcr.io/acme/checkout:1.4.2',
    'localhost:5000/a/b__c/d-e.f:V_1',
    `ghcr.io/acme/checkout@${digest}`,
    `ghcr.io/acme/checkout:1.4.2@${digest}`,
    '[::1]:5000/a:b',
  ])('of a Deployment may be %s', (image) => {
    expect(plan(validSpec(DESIGN_EXAMPLE), image).version).toBe(image);
  });

  it.each([
    ['ghcr.io/acme/checkout', 'names neither a tag nor a digest'],
    ['localhost:5000/checkout', 'names neither a tag nor a digest'],
    ['ghcr.io/acme/Checkout:1', 'is not an image reference'],
    ['ghcr.io/acme/checkout:', 'has a tag that is not allowed'],
    ['ghcr.io/acme/checkout:-1', 'has a tag that is not allowed'],
    ['ghcr.io/acme/checkout@sha256:abc', 'has a digest that is not sha256: and 64 lower-case hex digits'],
    ['a@b@c', 'has more than one "@"'],
    ['-x.io/acme/a:1', 'has a registry host that is not allowed'],
    ['a b:1', 'is not an image reference'],
    ['https://ghcr.io/a:1', 'has a registry host that is not allowed'],
    ['', 'is not an image reference'],
    [`${'a'.repeat(256)}:1`, 'has a name of more than 255 characters'],
  ])('of a Deployment may not be %.40s, which %s', (image, reason) => {
    expect(() => plan(validSpec(DESIGN_EXAMPLE), image)).toThrow(reason);
  });
});

describe('describePlan', () => {
  it('says what each step does and how long it takes', () => {
    const described = describePlan(plan(validSpec(DESIGN_EXAMPLE), IMAGE), {
      stableVersion: 'ghcr.io/acme/checkout:1.4.1',
    });

    expect(described.rows).toEqual([
      { name: 'deploy', what: `bring ${IMAGE} up beside stable, without traffic`, time: 'up to 10m' },
      { name: 'smoke test', what: 'GET /healthz of the new version, expecting 200, up to 3 times', time: 'up to 17s' },
      { name: 'weight 5 %', what: '5 % of traffic, measured every 5s (about 12 times)', time: '1m' },
      { name: 'weight 25 %', what: '25 % of traffic, measured every 5s (about 12 times)', time: '1m' },
      { name: 'approval', what: 'wait for oncall; unanswered: roll back', time: 'up to 4h' },
      { name: 'weight 50 %', what: '50 % of traffic, measured every 5s (about 60 times)', time: '5m' },
      { name: 'weight 100 %', what: '100 % of traffic, measured every 5s (about 12 times)', time: '1m' },
      { name: 'promote', what: `make ${IMAGE} the stable version`, time: 'up to 10m' },
    ]);
    expect(described.totals).toEqual({
      soakMs: 480_000,
      longestMs: 17_297_000,
      text: '8m of soaks; at most 4h48m17s with every deadline used up',
    });
    expect(described.notes).toEqual([
      'A step passes with at least 3 valid measurements of all metrics, each over 1m or since the last weight change, with at least 20 requests to the canary.',
      'More than 0 failed measurements of a step fail it; then: roll back.',
      'Without enough valid measurements the weight is held up to 5m longer, then: pause for a person.',
      'Bad events and slow requests of both tracks are counted over the whole release; a canary that is at most 1.25 times as bad as stable is failed by them in at most 1% of releases, however often is looked.',
      'Of that chance 10% is for the new stable pods, which are judged by themselves while the traffic is handed back to them, and the rest for the canary.',
      'When the canary does not get the share its weight asks for: say so.',
      'At 5 % that needs about 6.7 requests a second to the whole service.',
    ]);
  });

  it('plans a header by its name alone as the words that NGINX knows', () => {
    const text = DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', 'nginx: { ingress: checkout }').replace(
      '    - { weight: 5, soak: 60s }',
      '    - match: { header: x-canary }\n    - { weight: 5, soak: 60s }',
    );
    const made = plan(validSpec(text), IMAGE);

    const match = { kind: 'header', name: 'x-canary', value: null };
    expect(made.steps[2]).toEqual({ kind: 'match', name: 'match header x-canary', match });
    expect(describePlan(made).rows[2]?.what).toBe(
      'send requests with the header x-canary: always to the new version, whatever the weight',
    );
  });

  it('says what shares depend on where they are the number of pods', () => {
    const text = DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', 'replicas: {}');
    const notes = (spec: string): string =>
      describePlan(plan(validSpec(spec.replace('  smokeTest: { path: /healthz }\n', '')), IMAGE)).notes.join(' ');
    const said = 'A share is a whole number of pods, so which weights are reached depends on how many there are;';

    expect(notes(text)).toContain(said);
    expect(notes(text.replace(/  steps:[\s\S]*?  analysis:/, '  steps: [{ weight: 100 }]\n  analysis:'))).not.toContain(
      said,
    );
    expect(notes(DESIGN_EXAMPLE)).not.toContain(said);
  });

  it('of a blue-green release tells of the switch, of the old version, and of the colours that are asked for', () => {
    const text = DESIGN_EXAMPLE.replace('service: checkout', 'service: checkout\n      strategy: blueGreen');
    const { rows, metrics } = describePlan(plan(validSpec(text), IMAGE));

    expect(rows[0]?.what).toBe(`bring ${IMAGE} up on the idle colour, as large as the active one, without traffic`);
    expect(rows.at(-2)?.what).toMatch(/^switch all traffic, measured every 5s/);
    expect(rows.at(-1)?.what).toBe(`make ${IMAGE} the active version; the old one is kept for 10m`);
    expect(metrics[0]?.queries[0]?.query).toContain('track="<new colour>"');
    expect(metrics[0]?.queries.at(-1)?.query).toContain('track="<old colour>"');
  });

  it('shows the queries as they will be asked, for both tracks', () => {
    const [errorRate, latency] = describePlan(plan(validSpec(DESIGN_EXAMPLE), IMAGE)).metrics;

    expect(errorRate).toEqual({
      name: 'error-rate',
      limits: 'max 5%, evidence against stable (alpha 0.01 of the release, 1.25 times tolerated)',
      queries: ['canary', 'stable'].flatMap((track) => [
        {
          track,
          part: 'numerator',
          query: `sum(increase(http_requests_total{service="checkout",namespace="shop",track="${track}",status=~"5.."}[60s]))`,
        },
        {
          track,
          part: 'denominator',
          query: `sum(increase(http_requests_total{service="checkout",namespace="shop",track="${track}"}[60s]))`,
        },
        {
          track,
          part: 'bad events, counted',
          query: `sum by (job, instance) (http_requests_total{service="checkout",namespace="shop",track="${track}",status=~"5.."})`,
        },
        {
          track,
          part: 'all events, counted',
          query: `sum by (job, instance) (http_requests_total{service="checkout",namespace="shop",track="${track}"})`,
        },
      ]),
    });
    expect(latency?.limits).toBe('max 1s, evidence against stable (alpha 0.01 of the release, 1.25 times tolerated)');
    const parts = ['value', 'requests', 'histogram, counted'];
    expect(latency?.queries.map(({ part }) => part)).toEqual([...parts, ...parts]);
  });

  it('judges a flag by its outcomes where no source is named', () => {
    const flag = plan(validSpec(FLAG_DOCUMENT), 'on');

    expect(flag.analysis).toMatchObject({
      source: { kind: 'flag' },
      routingCheck: 'off',
      metrics: [
        { name: 'error-rate', query: { kind: 'builtin', metric: 'error-rate' }, counters: { kind: 'builtin' } },
        { name: 'p95-latency', query: { kind: 'builtin', metric: 'latency', quantile: 0.95 } },
      ],
    });
    expect(flag.analysis.evidence).not.toBeNull();
    expect(describePlan(flag).metrics[0]?.queries.map(({ query }) => query)).toEqual([
      'error-rate of users with the flag, by the outcomes posted to the flag service',
      'error-rate of users without the flag, by the outcomes posted to the flag service',
    ]);
  });

  it('asks Prometheus for the variants of a flag, as its release does', () => {
    const text = `${FLAG_DOCUMENT}  analysis: { source: { prometheus: { url: "http://127.0.0.1:9" } } }\n`;

    const [errorRate] = describePlan(plan(validSpec(text), 'on')).metrics;

    expect(errorRate?.queries.map(({ track, query }) => [track, /variant="(\w+)"/.exec(query)?.[1]])).toEqual([
      ...Array.from({ length: 4 }, () => ['canary', 'on']),
      ...Array.from({ length: 4 }, () => ['stable', 'off']),
    ]);
  });

  it("names the router's own counters where no query is sent", () => {
    const [errorRate] = describePlan(plan(validSpec(routerDocument()), 'v2')).metrics;

    expect(errorRate?.queries).toEqual([
      { track: 'canary', part: 'counters', query: "error-rate of the canary cohort, by the router's own counters" },
      { track: 'stable', part: 'counters', query: "error-rate of the stable cohort, by the router's own counters" },
    ]);
  });
});

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen);
}

const FLAG_DOCUMENT = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout }
spec:
  target: { flag: { name: new-checkout, environment: production } }
`;
