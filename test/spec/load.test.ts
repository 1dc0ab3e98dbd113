import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { EnvironmentName } from '../../src/flags/flag';
import { ReleaseError } from '../../src/errors';
import { loadSpec, loadSpecFile, parseSpec } from '../../src/spec/load';
import { DESIGN_EXAMPLE, FAULTY_EXAMPLE, problemsOf, prometheusDocument, routerDocument, validSpec } from './documents';

describe('parseSpec', () => {
  it("validates the design page's example", () => {
    const result = parseSpec(DESIGN_EXAMPLE, 'release.yaml');

    expect(result).toMatchObject({ ok: true, warnings: [] });
    expect(validSpec(DESIGN_EXAMPLE).spec.steps).toEqual([
      { weight: 5, soak: 60_000 },
      { weight: 25, soak: 60_000 },
      { approve: { by: ['oncall'], timeout: 14_400_000, onExpiry: 'rollback' } },
      { weight: 50, soak: 300_000 },
      { weight: 100, soak: 60_000 },
    ]);
  });

  it('reports several errors at once, in file order, with place, finding, nearest key and what is allowed', () => {
    expect(problemsOf(FAULTY_EXAMPLE)).toEqual([
      'release.yaml:8:21: unknown key "soack" in a step; did you mean "soak"? Allowed: weight, soak, match, approve.',
      'release.yaml:9:17: spec.steps[1].weight: 5 does not rise: a step before has 25 already. Allowed: a weight from 26 to 100.',
      'release.yaml:9:26: spec.steps[1].soak: "60 parsecs" has the unknown unit "parsecs". Allowed: a duration with its unit, from 1s to 7d, such as 60s, 5m or 1h30m.',
    ]);
  });

  it('a wrong key of the analysis hides nothing that is wrong with its metrics', () => {
    const analysis = `  analysis:
    failureLimit: -1
    intrval: 5s
    metrics:
      - { name: error-rate, max: 5 }
      - { name: foo, max: 5% }
`;

    expect(
      problemsOf(routerDocument(analysis)).map((problem) => /\d: (.*?)(?: is |;| has )/u.exec(problem)?.[1]),
    ).toEqual([
      'spec.analysis.failureLimit: -1',
      'unknown key "intrval" in spec.analysis',
      'spec.analysis.metrics[0].max: 5',
      'spec.analysis.metrics[1].name: "foo"',
    ]);
  });

  it('gives every problem its place and path as data', () => {
    const result = parseSpec(routerDocument('  onFailure: rolback\n'), 'a.yaml');

    expect(result).toEqual({
      ok: false,
      problems: [
        {
          file: 'a.yaml',
          line: 6,
          column: 14,
          path: 'spec.onFailure',
          message: 'spec.onFailure: "rolback" is not known; did you mean "rollback"? Allowed: rollback, pause.',
        },
      ],
    });
  });
});

describe('the document', () => {
  it.each([
    ['', '1:1: the file is empty. Allowed: a mapping with apiVersion, kind, metadata and spec.'],
    ['\uFEFF \n', '1:1: the file is empty. Allowed: a mapping with apiVersion, kind, metadata and spec.'],
    ['# only a comment\n', '1:1: the document is empty. Allowed: a mapping with apiVersion, kind, metadata and spec.'],
    ['- a\n', '1:1: the document is a list. Allowed: a mapping with apiVersion, kind, metadata and spec.'],
    ['hello\n', '1:1: the document is a single value. Allowed: a mapping with apiVersion, kind, metadata and spec.'],
    [`${routerDocument()}---\na: 1\n`, '6:1: a second document begins here. Allowed: one release for each file.'],
    ['a: 1\nb:\n\t- 1\n', '3:1: a tab is used as indentation. Allowed: spaces.'],
    [
      'a: [1, 2\n',
      '2:1: not well-formed YAML: Flow sequence in block collection must be sufficiently indented and end with a ].',
    ],
    [
      'a: *nothing\n',
      '1:4: Unresolved alias (the anchor must be set before the alias): nothing. Allowed: an alias after its anchor.',
    ],
    ['a: !secret x\n', '1:4: Unresolved tag: !secret. Allowed: plain YAML without tags.'],
  ])('%j', (text, expected) => {
    expect(problemsOf(text)).toContain(`release.yaml:${expected}`);
  });

  it('tells the first faults of a text that is no YAML, not the dozens that come of them', () => {
    const problems = problemsOf('# A page\n\nText: with a `quote`: and more.\n\n'.repeat(30));

    expect(problems).toHaveLength(6);
    expect(problems.at(-1)).toMatch(/\d+ more from here on are not shown; they may come of those before\.$/);
  });

  it('must say what it is', () => {
    const text = routerDocument().replace('sluice.dev/v1', 'sluice.dev/v2').replace('Release', 'Rollout');

    expect(problemsOf(text)).toEqual([
      'release.yaml:1:13: apiVersion: "sluice.dev/v2" is not known; did you mean "sluice.dev/v1"? Allowed: sluice.dev/v1.',
      'release.yaml:2:7: kind: "Rollout" is not known. Allowed: Release.',
    ]);
  });

  it('is refused when its aliases would explode', () => {
    const layers = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i}, `.repeat(9)}*l${i}]`);
    const text = `l0: &l0 [x]\n${layers.join('\n')}\n`;

    expect(problemsOf(text)).toEqual([
      'release.yaml:2:10: the aliases come to more than 100 copies. Allowed: at most 100.',
    ]);
  });

  it('may use a few aliases; problems in them are shown where they are written', () => {
    const text = routerDocument(
      '  steps:\n    - { weight: 5, soak: &long 5 min }\n    - { weight: 100, soak: *long }\n',
    );

    expect(problemsOf(text).map((problem) => problem.slice(0, 40))).toEqual([
      'release.yaml:7:32: spec.steps[0].soak: "',
      'release.yaml:8:28: spec.steps[1].soak: "',
    ]);
  });

  it('is refused when it is nested without end', () => {
    expect(problemsOf('['.repeat(50_000))[0]).toMatch(/^release\.yaml:\d+:\d+: /);
    expect(problemsOf(`a: ${'{a: '.repeat(20_000)}`)[0]).toMatch(/^release\.yaml:\d+:\d+: /);
  });

  it('reports a key given twice beside everything else', () => {
    expect(problemsOf(routerDocument('  onFailure: pause\n  onFailure: pause\n  onConflikt: queue\n'))).toEqual([
      'release.yaml:7:3: the key "onFailure" is given twice in the same mapping. Allowed: each key once.',
      'release.yaml:8:3: unknown key "onConflikt" in spec; did you mean "onConflict"? Allowed: target, deployTimeout, smokeTest, steps, analysis, onFailure, onConflict, notify.',
    ]);
  });

  it.each([
    ['onForeignEdit', 'in spec; it belongs in spec.target.kubernetes. Allowed: target,'],
    ['tolerate', 'in spec; it belongs in spec.analysis.compare. Allowed: target,'],
    // Of too many mappings to say which one was meant.
    ['name', 'in spec. Allowed: target,'],
  ])('says where a key belongs that stands in the wrong place: %s', (key, said) => {
    expect(problemsOf(routerDocument(`  ${key}: rollback\n`)).join()).toContain(`unknown key "${key}" ${said}`);
  });

  it('finds an unknown key at any depth', () => {
    const text = DESIGN_EXAMPLE.replace('httpRoute: checkout', 'httpRoute: checkout, weigth: 1')
      .replace('channel:', 'chanel:')
      .replace('tolerate', 'tollerate')
      .replace('name: error-rate', 'name: error-rate, maximum: 5%');

    expect(problemsOf(text)).toEqual([
      'release.yaml:9:53: unknown key "weigth" in traffic.gatewayAPI. Allowed: httpRoute, grpcRoute.',
      'release.yaml:22:29: unknown key "maximum" in a metric. Allowed: name, max, min, maxRatio, numerator, denominator, bad, total, query, requests, buckets, http, unit, objective, dryRun, critical, note.',
      'release.yaml:24:29: unknown key "tollerate" in analysis.compare; did you mean "tolerate"? Allowed: alpha, tolerate, clusters.',
      'release.yaml:26:22: unknown key "chanel" in notify.slack; did you mean "channel"? Allowed: channel.',
    ]);
  });

  it.each(['__proto__', 'constructor', 'toString', '<<', '5', '""'])('knows no key %s', (key) => {
    expect(problemsOf(routerDocument(`  ${key}: { x: 1 }\n`)).join()).toContain('release.yaml:6:3: unknown key');
  });
});

describe('missing and empty values', () => {
  it.each([
    [
      'kind: Release\nmetadata: { name: a }\nspec: { target: { flag: { name: a, environment: b } }, analysis: { source: { prometheus: { url: "http://p" } } } }',
      '1:1: the key "apiVersion" is missing in the document (Version of this format). Needed: apiVersion, kind, metadata, spec.',
    ],
    [
      routerDocument().replace('{ name: shop }', '{ namespace: shop }'),
      '3:1: the key "name" is missing in metadata (Name of the service. One release of it runs at a time). Needed: name.',
    ],
    [
      routerDocument().replace('{ name: shop }', ''),
      '3:11: metadata: nothing is not allowed here. Allowed: a mapping with the keys name, namespace.',
    ],
    [
      routerDocument('  analysis:\n'),
      '6:12: spec.analysis: nothing is not allowed here. Allowed: a mapping with the keys source, interval, initialDelay, lag, window, minMeasurements, minRequests, failureLimit, consecutiveErrorLimit, onNoData, preset, metrics, compare, until, promotion, kayenta, routingCheck.',
    ],
    [
      routerDocument('  steps: []\n'),
      '6:10: spec.steps: a list of 0 is not allowed here. Allowed: a list of 1 to 100 steps.',
    ],
  ])('%#', (text, expected) => {
    expect(problemsOf(text)).toEqual([`release.yaml:${expected}`]);
  });

  it('does not call a key missing whose typo is right there', () => {
    expect(problemsOf(routerDocument().replace('{ name: shop }', '{ nmae: shop }'))).toEqual([
      'release.yaml:3:13: unknown key "nmae" in metadata; did you mean "name"? Allowed: name, namespace.',
    ]);
  });
});

describe('values', () => {
  it.each([
    [
      '  deployTimeout: 600\n',
      'deployTimeout: 600 has no unit. Allowed: a duration with its unit, from 1s to 2h, such as 60s, 5m or 1h30m.',
    ],
    [
      '  deployTimeout: 3h\n',
      'deployTimeout: "3h" is above 2h. Allowed: a duration with its unit, from 1s to 2h, such as 60s, 5m or 1h30m.',
    ],
    [
      '  smokeTest: yes\n',
      'smokeTest: "yes" is not allowed here. Allowed: false, or a mapping with the keys path, expectStatus, expectBody, attempts, interval, timeout.',
    ],
    [
      '  smokeTest: { path: healthz }\n',
      'smokeTest.path: "healthz" is not allowed here. Allowed: a path that begins with "/".',
    ],
    [
      '  smokeTest: { path: /, expectStatus: 2000 }\n',
      'smokeTest.expectStatus: 2000 is not allowed here. Allowed: a whole number from 200 to 599.',
    ],
    [
      '  notify: { slack: { channel: deploys } }\n',
      'notify.slack.channel: "deploys" is not allowed here. Allowed: a channel, "#deploys" in quotes, or its id.',
    ],
    ['  steps: 5\n', 'steps: 5 is not allowed here. Allowed: a list of 1 to 100 steps.'],
    [
      '  steps: [5, { weight: 100 }]\n',
      'steps[0]: 5 is not allowed here. Allowed: a mapping with the keys weight, soak, match, approve.',
    ],
    [
      '  steps: [{ weight: 100, soak: 0s }]\n',
      'steps[0].soak: "0s" is below 1s. Allowed: a duration with its unit, from 1s to 7d, such as 60s, 5m or 1h30m.',
    ],
    [
      '  steps: [{ approve: }, { weight: 100 }]\n',
      'steps[0].approve: nothing is not allowed here. Allowed: a mapping with the keys by, timeout, onExpiry.',
    ],
    [
      '  analysis: { compare: true }\n',
      'analysis.compare: true is not allowed here. Allowed: false, or a mapping with the keys alpha, tolerate, clusters.',
    ],
    [
      '  analysis: { compare: { alpha: 2 } }\n',
      'analysis.compare.alpha: 2 is not allowed here. Allowed: a number from 0.000001 to 0.5.',
    ],
    [
      '  analysis: { minRequests: .nan }\n',
      'analysis.minRequests: NaN is not allowed here. Allowed: a whole number from 1 to 1000000.',
    ],
  ])('%s', (lines, expected) => {
    expect(problemsOf(routerDocument(lines)).map((line) => line.replace(/^\S+ spec\./, ''))).toEqual([expected]);
  });

  it.each(['0', '-5', '101', '2.5', '250%', '5.5%', 'five', '0%', 'true', '[]', '.inf'])(
    'refuses the weight %s',
    (weight) => {
      const [first] = problemsOf(routerDocument(`  steps: [{ weight: ${weight} }, { weight: 100 }]\n`));

      expect(first).toMatch(
        /^release\.yaml:6:21: spec\.steps\[0\]\.weight: .* is not allowed here\. Allowed: a whole percentage from 1 to 100, as 25 or 25%\.$/,
      );
    },
  );

  it('reads a weight with or without its sign', () => {
    const { spec } = validSpec(routerDocument('  steps: [{ weight: 25%, soak: 5m }, { weight: 100 }]\n'));

    expect(spec.steps).toEqual([{ weight: 25, soak: 300_000 }, { weight: 100 }]);
  });

  it.each([
    ['{}', 'the step has neither weight, match nor approve'],
    ['{ soak: 60s }', 'the step has neither weight, match nor approve'],
    ['{ weight: 5, approve: {} }', 'weight and approve are given together'],
    ['{ soak: 5s, approve: {} }', 'soak and approve are given together'],
  ])('refuses the step %s', (step, reason) => {
    expect(problemsOf(routerDocument(`  steps: [${step}, { weight: 100 }]\n`))).toEqual([
      `release.yaml:6:11: spec.steps[0]: ${reason}. Allowed: either weight and soak, or match, or approve.`,
    ]);
  });
});

describe('the target', () => {
  const withTarget = (target: string): string =>
    `apiVersion: sluice.dev/v1\nkind: Release\nmetadata: { name: a }\nspec:\n  target: ${target}\n  analysis: { source: { prometheus: { url: "http://p:9090" , labels: {job: a}} } }\n`;

  it.each([
    ['{}', 'spec.target: nothing is chosen. Allowed: exactly one of kubernetes, router, flag.'],
    [
      '{ flag: { name: a, environment: b }, router: { instances: ["http://a"] } }',
      'spec.target: router and flag are given together. Allowed: exactly one of kubernetes, router, flag.',
    ],
    [
      '{ kuberntes: {} }',
      'unknown key "kuberntes" in spec.target; did you mean "kubernetes"? Allowed: kubernetes, router, flag.',
    ],
    [
      '{ kubernetes: { deployment: A_b, service: a, traffic: { nginx: { ingress: a } } } }',
      'spec.target.kubernetes.deployment: "A_b" is not allowed here. Allowed: a DNS-1123 label: lower-case letters, digits and "-", at most 63, beginning and ending with a letter or digit.',
    ],
    [
      '{ kubernetes: { deployment: a, service: a, traffic: {} } }',
      'spec.target.kubernetes.traffic: nothing is chosen. Allowed: exactly one of gatewayAPI, nginx, traefik, istio, serviceSelector, replicas.',
    ],
    [
      '{ router: { instances: [] } }',
      'spec.target.router.instances: a list of 0 is not allowed here. Allowed: a list of 1 to 100 addresses.',
    ],
    [
      '{ router: { instances: ["http://a", "http://a/"] } }',
      'spec.target.router.instances[1]: "http://a" is given twice. Allowed: each instance once.',
    ],
  ])('%s', (target, expected) => {
    expect(problemsOf(withTarget(target)).map((line) => line.replace(/^\S+ /, ''))).toEqual([expected]);
  });

  it.each([
    ['ftp://a', '"ftp://a" is neither http nor https'],
    ['a:3000', '"a:3000" is neither http nor https'],
    ['nonsense', '"nonsense" is not an address'],
    ['http://a?x=1', 'the address has a query or a fragment'],
    ['http://169.254.169.254/latest', '"http://169.254.169.254/latest" is a link-local or cloud metadata address'],
    ['http://2852039166/', '"http://2852039166/" is a link-local or cloud metadata address'],
    ['http://[fe80::1]:80', '"http://[fe80::1]:80" is a link-local or cloud metadata address'],
  ])('refuses the address %s', (address, reason) => {
    expect(problemsOf(withTarget(`{ router: { instances: ["${address}"] } }`))).toEqual([
      `release.yaml:5:35: spec.target.router.instances[0]: ${reason}. Allowed: an http:// or https:// address, such as http://10.0.0.7:3000.`,
    ]);
  });

  it.each(['http://user:hunter2@host:3000', 'http://hunter2@host', 'user:hunter2@host', 'http://x y:hunter2@z'])(
    'never repeats credentials found in %s',
    (address) => {
      const problems = problemsOf(withTarget(`{ router: { instances: ["${address}"] } }`));

      expect(problems).toHaveLength(1);
      expect(problems.join()).not.toContain('hunter2');
    },
  );

  it('lets a worker send no other secret, and does not repeat what may be one', () => {
    const problems = problemsOf(
      withTarget(
        '{ router: { instances: ["http://a"], tokenEnv: AWS_SECRET_ACCESS_KEY, overrideSecretEnv: SLUICE_ROUTER_TOKEN } }',
      ),
    );

    expect(problems.map((line) => line.replace(/^\S+ /, ''))).toEqual([
      'spec.target.router.tokenEnv: the value is not allowed here. Allowed: the name of an environment variable of the worker, SLUICE_ROUTER_TOKEN or SLUICE_ROUTER_TOKEN_<SUFFIX>; never a secret itself.',
      'spec.target.router.overrideSecretEnv: the value is not allowed here. Allowed: the name of an environment variable of the worker, SLUICE_ROUTER_OVERRIDE_SECRET or SLUICE_ROUTER_OVERRIDE_SECRET_<SUFFIX>; never a secret itself.',
    ]);
    expect(
      validSpec(withTarget('{ router: { instances: ["http://a"], tokenEnv: SLUICE_ROUTER_TOKEN_SHOP } }')),
    ).toBeTruthy();
  });
});

describe('what must fit together', () => {
  it.each([
    [
      '[{ weight: 5 }, { weight: 5 }, { weight: 100 }]',
      '6:35: spec.steps[1].weight: 5 does not rise: a step before has 5 already. Allowed: a weight from 6 to 100.',
    ],
    [
      '[{ weight: 100 }, { weight: 100 }]',
      '6:31: spec.steps[1].weight: 100 does not rise: a step before has 100 already. Allowed: no weight after 100.',
    ],
    [
      '[{ weight: 5 }, { weight: 50 }]',
      '6:29: spec.steps[1].weight: the last weight is 50. Allowed: 100, so that full load is seen before the promotion.',
    ],
    ['[{ approve: {} }]', '6:10: spec.steps: there is no weight. Allowed: weights that rise to 100.'],
  ])('steps: %s', (steps, expected) => {
    expect(problemsOf(routerDocument(`  steps: ${steps}\n`))[0]).toContain(expected.replace(/^\S+ /, ''));
  });

  it('allows an approval before the first weight and after the last', () => {
    expect(problemsOf(routerDocument('  steps: [{ approve: {} }, { weight: 100 }, { approve: {} }]\n'))).toEqual([]);
  });

  it.each([
    [
      'interval: 61s',
      'spec.analysis.interval: 1m1s is longer than the time there is for measuring in the shortest soak. Allowed: at most 1m.',
    ],
    [
      'initialDelay: 60s',
      'spec.analysis.initialDelay: 1m leaves nothing of the shortest soak, 1m, to be judged. Allowed: less than 1m.',
    ],
    [
      'minMeasurements: 13',
      'spec.analysis.minMeasurements: 13 measurements do not fit into the shortest soak: 1m at an interval of 5s are 12. Allowed: at most 12, or a longer soak.',
    ],
    [
      'preset: http',
      "spec.analysis.preset: the preset http needs a Prometheus, but the source is the router's own counters. Allowed: router.",
    ],
    ['metrics: []', 'spec.analysis.metrics: a list of 0 is not allowed here. Allowed: a list of 1 to 50 metrics.'],
    [
      'metrics: [{ name: eror-rate }]',
      'spec.analysis.metrics[0].name: "eror-rate" is no metric of the preset router; did you mean "error-rate"? Allowed: error-rate, p50-latency, p95-latency, p99-latency, requests, or your own with query, or numerator and denominator.',
    ],
    [
      'metrics: [{ name: error-rate }, { name: error-rate }]',
      'spec.analysis.metrics[1].name: "error-rate" is the name of metric 1 already. Allowed: each name once.',
    ],
    [
      'metrics: [{ name: error-rate, max: 0.05 }]',
      'spec.analysis.metrics[0].max: 0.05 has no percent sign: write 5% for that fraction. Allowed: a percentage with its sign, such as 5% or 0.25%.',
    ],
    [
      'metrics: [{ name: error-rate, max: 5 }]',
      'spec.analysis.metrics[0].max: 5 has no percent sign. Allowed: a percentage with its sign, such as 5% or 0.25%.',
    ],
    [
      'metrics: [{ name: error-rate, max: 1s }]',
      'spec.analysis.metrics[0].max: "1s" is not a percentage. Allowed: a percentage with its sign, such as 5% or 0.25%.',
    ],
    [
      'metrics: [{ name: p95-latency, max: 1 }]',
      'spec.analysis.metrics[0].max: 1 has no unit. Allowed: a duration with its unit, such as 250ms or 1s.',
    ],
    [
      'metrics: [{ name: p95-latency, max: 5% }]',
      'spec.analysis.metrics[0].max: "5%" is not a duration. Allowed: a duration with its unit, such as 250ms or 1s.',
    ],
    [
      'metrics: [{ name: requests, min: 5% }]',
      'spec.analysis.metrics[0].min: "5%" is no number of 0 or more. Allowed: a number, such as 12 or 0.5.',
    ],
    [
      'compare: false, metrics: [{ name: p99-latency }]',
      'spec.analysis.metrics[0]: the metric p99-latency has no limit and would judge nothing. Allowed: at least one of max, min, maxRatio.',
    ],
    [
      'metrics: [{ name: p99-latency, max: 1s, min: 2s }]',
      'spec.analysis.metrics[0].min: "2s" is above max, "1s". Allowed: at most max.',
    ],
    [
      'compare: false, metrics: [{ name: p99-latency, max: 1s, objective: 1% }]',
      'spec.analysis.metrics[0].objective: nothing is counted that could be held against it. Allowed: for a ratio whose events are counted, such as error-rate, and for a latency whose histogram is, such as p95-latency, with compare switched on.',
    ],
    [
      'metrics: [{ name: p99-latency, maxRatio: 2, objective: 1% }]',
      'spec.analysis.metrics[0].objective: of a latency it says how many may be slower than max, and there is no max. Allowed: beside max.',
    ],
    [
      'metrics: [{ name: p99-latency, max: 40s, objective: 1% }]',
      'spec.analysis.metrics[0].objective: how many are slower than "40s" is not counted: the histogram\'s last boundary is 30s. Allowed: beside a max of 30s at most.',
    ],
    [
      'metrics: [{ name: p99-latency, max: 1s, objective: 200ms }]',
      'spec.analysis.metrics[0].objective: "200ms" is not a percentage. Allowed: a percentage with its sign, such as 5% or 0.25%.',
    ],
    [
      'metrics: [{ name: error-rate, objective: 0% }]',
      'spec.analysis.metrics[0].objective: "0%" leaves nothing to prove. Allowed: above 0% and below 100%.',
    ],
    [
      'promotion: { exclude: 3 }',
      'spec.analysis.promotion: promotion says what ends a soak before its time, and until is soak. Allowed: beside until: evidence.',
    ],
    [
      'until: evidence, metrics: [{ name: p95-latency, max: 1s }]',
      'spec.analysis.until: no metric can prove anything about the canary. Allowed: until: evidence beside compare, and a ratio whose events are counted, such as error-rate.',
    ],
    [
      'metrics: [{ name: error-rate, dryRun: yes please }]',
      'spec.analysis.metrics[0].dryRun: "yes please" is not allowed here. Allowed: true or false.',
    ],
    [
      'metrics: [{ name: error-rate, unit: ratio }]',
      'spec.analysis.metrics[0].unit: the preset says the unit of error-rate. Allowed: unit only beside your own query.',
    ],
    [
      'metrics: [{ name: own, query: up, unit: count, max: 1 }]',
      "spec.analysis.metrics[0].query: the router's own counters answer no PromQL. Allowed: the metrics error-rate, p50-latency, p95-latency, p99-latency, requests.",
    ],
  ])('analysis of a router: %s', (analysis, expected) => {
    expect(
      problemsOf(routerDocument(`  analysis: { ${analysis} }\n`)).map((line) => line.replace(/^\S+ /, '')),
    ).toEqual([expected]);
  });

  it.each([
    [
      '{ name: own, query: up, max: 1 }',
      '.query: query is given without unit. Allowed: unit: ratio, seconds or count beside it.',
    ],
    [
      '{ name: own, numerator: up, max: 1% }',
      '.numerator: numerator is given without denominator. Allowed: both, or query.',
    ],
    ['{ name: own, bad: up, max: 1% }', '.bad: bad is given without total. Allowed: both, or query.'],
    [
      '{ name: own, bad: "increase(up[{{window}}])", total: up }',
      '.bad: {{window}} makes no counter: counters are read at two moments and subtracted. Allowed: the counters themselves, as sum by (job, instance) (my_errors_total{track="{{track}}"}).',
    ],
    [
      '{ name: own, query: up, unit: count, max: 1, buckets: up }',
      '.buckets: a histogram of latencies is compared by how many are slower. Allowed: beside query, with unit: seconds.',
    ],
    [
      '{ name: own, denominator: up, max: 1% }',
      '.denominator: denominator is given without numerator. Allowed: both, or query.',
    ],
    [
      '{ name: own, query: up, denominator: up, unit: ratio, max: 1% }',
      '.query: query is given together with denominator. Allowed: query, or numerator and denominator, or bad and total.',
    ],
    [
      '{ name: own, numerator: up, denominator: up, unit: count, max: 1% }',
      '.unit: "count" does not fit: a numerator with a denominator is a ratio. Allowed: ratio, or no unit.',
    ],
    [
      '{ name: own, query: "x{v=\'{{verison}}\'}", unit: count, max: 1 }',
      '.query: unknown placeholder "{{verison}}"; did you mean "{{version}}"? Allowed: {{service}}, {{namespace}}, {{track}}, {{version}}, {{window}}.',
    ],
    [
      '{ name: own, query: "x_{{version}}", unit: count, max: 1 }',
      '.query: the placeholder "{{version}}" stands outside of quotes. Allowed: within quotes, as in service="{{service}}"; only {{window}} may stand anywhere.',
    ],
    [
      '{ name: own, query: up, unit: count }',
      ': the metric own has no limit and would judge nothing. Allowed: at least one of max, min, maxRatio.',
    ],
  ])('metric by Prometheus: %s', (metric, expected) => {
    const problems = problemsOf(prometheusDocument(`    metrics: [${metric}]\n`));

    expect(problems.map((line) => line.replace(/^\S+ /, ''))).toEqual([`spec.analysis.metrics[0]${expected}`]);
  });

  it('a ratio without a limit is judged by its comparison, unless that is switched off', () => {
    const metric = '    metrics: [{ name: own, numerator: up, denominator: up }]\n';

    expect(problemsOf(prometheusDocument(metric))).toEqual([]);
    expect(problemsOf(prometheusDocument(`${metric}    compare: false\n`))).toHaveLength(1);
  });

  const specOf = (target: string): string =>
    `apiVersion: sluice.dev/v1\nkind: Release\nmetadata: { name: a }\nspec:\n  target: { ${target} }\n`;
  const FLAG = 'flag: { name: a, environment: b }';

  it('a target without counters of its own needs a source', () => {
    const head = specOf('kubernetes: { deployment: a, service: a, traffic: { replicas: {} } }');

    expect(problemsOf(head)[0]).toContain(
      'release.yaml:4:1: spec: the key "analysis" is missing: a kubernetes target has no counters of its own.',
    );
    expect(problemsOf(`${head}  analysis: { interval: 5s }\n`)[0]).toContain(
      'spec.analysis: a kubernetes target has no counters of its own, and nothing says where measurements come from.',
    );
    expect(problemsOf(`${head}  analysis: { source: { flag: {} } }\n`)[0]).toContain(
      'spec.analysis.source.flag: outcomes exist only for a flag target, and this one is kubernetes.',
    );
  });

  it.each(['production', 'Production', 'EU_1.west', 'a'.repeat(64), 'a b', '-a', 'a'.repeat(65), 'a:b'])(
    'the environment %s of a flag can be released in when a flag can be in it',
    (environment) => {
      const problems = problemsOf(specOf(`flag: { name: a, environment: "${environment}" }`));

      expect(problems.length === 0).toBe(EnvironmentName.safeParse(environment).success);
    },
  );

  it('counters are those of the target', () => {
    expect(problemsOf(specOf(FLAG))).toEqual([]);
    expect(problemsOf(`${specOf(FLAG)}  analysis: { source: { flag: {} } }\n`)).toEqual([]);
    expect(problemsOf(`${specOf(FLAG)}  analysis: { source: { router: {} } }\n`)[0]).toContain(
      "spec.analysis.source.router: the router's counters exist only for a router target, and this one is flag.",
    );
    expect(problemsOf(routerDocument('  analysis: { source: { flag: {} } }\n'))[0]).toContain(
      'spec.analysis.source.flag: outcomes exist only for a flag target, and this one is router.',
    );
  });

  it.each([
    [
      'preset: http',
      "spec.analysis.preset: the preset http needs a Prometheus, but the source is the flag's own outcomes. Allowed: flag.",
    ],
    [
      'routingCheck: rollback',
      'spec.analysis.routingCheck: "rollback" could never come about: outcomes do not tell how users were divided. Allowed: off, or a Prometheus.',
    ],
    [
      'metrics: [{ name: own, query: up, unit: count, max: 1 }]',
      "spec.analysis.metrics[0].query: the flag's own outcomes answer no PromQL. Allowed: the metrics error-rate, p50-latency, p95-latency, p99-latency, requests.",
    ],
  ])('analysis of a flag by its outcomes: %s', (analysis, expected) => {
    expect(
      problemsOf(`${specOf(FLAG)}  analysis: { ${analysis} }\n`).map((line) => line.replace(/^\S+ /, '')),
    ).toContain(expected);
  });

  it.each([
    ['blueGreen', 'a blue-green release without a traffic splitter moves all traffic at once'],
    ['canary', 'a Service selector moves all traffic at once'],
  ])('strategy %s by a Service selector has the only weight 100', (strategy, why) => {
    const text = DESIGN_EXAMPLE.replace('service: checkout', `service: checkout\n      strategy: ${strategy}`).replace(
      'gatewayAPI: { httpRoute: checkout }',
      'serviceSelector: {}',
    );

    expect(problemsOf(text).map((line) => line.replace(/^\S+ /, '').split('. ')[0])).toEqual([
      `spec.steps[0].weight: 5 is not allowed here: ${why}`,
      `spec.steps[1].weight: 25 is not allowed here: ${why}`,
      `spec.steps[3].weight: 50 is not allowed here: ${why}`,
    ]);
  });

  it('a match stands before the first weight, where the splitter can tell requests by it', () => {
    const withSteps = (traffic: string, steps: string): string =>
      DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', traffic).replace(
        /  steps:[\s\S]*?  analysis:/,
        `  steps: [${steps}]\n  analysis:`,
      );
    const header = '{ match: { header: { x-canary: "true" } } }';
    const cookie = '{ match: { cookie: canary } }';
    const problems = (traffic: string, steps: string): string[] =>
      problemsOf(withSteps(traffic, steps)).map((line) => line.replace(/^\S+ /, ''));
    const gateway = 'gatewayAPI: { httpRoute: [checkout, mobile], grpcRoute: api }';

    expect(problems(gateway, `${header}, { weight: 100 }`)).toEqual([]);
    expect(problems('nginx: { ingress: checkout }', `${cookie}, ${header}, { weight: 100 }`)).toEqual([]);
    expect(problems(gateway, `{ weight: 5 }, ${header}, { weight: 100 }`)).toEqual([
      'spec.steps[1].match: match stands after a weight. Allowed: before the first weight.',
    ]);
    expect(problems(gateway, `${cookie}, { weight: 100 }`)).toEqual([
      'spec.steps[0].match: gatewayAPI cannot tell requests by a cookie. Allowed: a header and its value.',
    ]);
    expect(problems('replicas: {}', `${header}, { weight: 100 }`)).toContain(
      'spec.steps[0].match: replicas cannot tell requests by a header and its value. Allowed: steps without match.',
    );
    const bare = '{ match: { header: x-canary } }';
    expect(problems('nginx: { ingress: checkout }', `${bare}, ${cookie}, { weight: 100 }`)).toEqual([]);
    expect(problems(gateway, `${bare}, { weight: 100 }`)).toEqual([
      'spec.steps[0].match: gatewayAPI cannot tell requests by the name of a header alone. Allowed: a header and its value.',
    ]);
    expect(problems('istio: { virtualService: checkout }', `${bare}, { weight: 100 }`)).toEqual([
      'spec.steps[0].match: istio cannot tell requests by the name of a header alone. Allowed: a header and its value or a cookie.',
    ]);
    for (const wrong of ['[x-canary]', 'true']) {
      expect(problems('nginx: { ingress: checkout }', `{ match: { header: ${wrong} } }, { weight: 100 }`)).toEqual([
        expect.stringMatching(
          /is not allowed here\. Allowed: one header and its value, .*, or the name of a header, x-c/u,
        ),
      ]);
    }
    expect(problems('nginx: { ingress: checkout }', `{ match: { header: a b } }, { weight: 100 }`)).toEqual([
      'spec.steps[0].match.header: "a b" is not allowed here. Allowed: a name of 1 to 128 characters, without spaces and separators.',
    ]);
    expect(problems(gateway, `{ match: { header: { x-canary: true } } }, { weight: 100 }`)).toEqual([
      'spec.steps[0].match.header.x-canary: true is not allowed here. Allowed: printable ASCII in quotes, 1 to 256 characters.',
    ]);
    expect(problems(gateway, `{ match: { header: { a: "1", b: "2" } } }, { weight: 100 }`)[0]).toContain(
      'there must be exactly one header',
    );
    expect(problems(gateway, `{ match: { cookie: canary }, soak: 5s }, { weight: 100 }`)[0]).toContain(
      'soak and match are given together',
    );
    expect(problems('gatewayAPI: {}', '{ weight: 100 }')[0]).toContain('no route is named');
  });

  it.each([
    ['canary', 'gatewayAPI: { httpRoute: checkout }', 56],
    ['canary', 'serviceSelector: {}', 56],
    ['blueGreen', 'gatewayAPI: { httpRoute: checkout }', 57],
    ['canary', 'replicas: {}', 63],
  ])('the name of a Service leaves room for what a release makes beside it: %s by %s', (strategy, traffic, longest) => {
    const problems = (length: number): readonly string[] =>
      problemsOf(
        DESIGN_EXAMPLE.replace('service: checkout', `service: ${'x'.repeat(length)}\n      strategy: ${strategy}`)
          .replace('gatewayAPI: { httpRoute: checkout }', traffic)
          .replace('  smokeTest: { path: /healthz }\n', '')
          .replace(/  steps:[\s\S]*?  analysis:/, '  steps: [{ weight: 100 }]\n  analysis:'),
      );

    expect(problems(longest)).toEqual([]);
    expect(problems(longest + 1)).toEqual([
      expect.stringMatching(
        longest === 63
          ? /spec\.target\.kubernetes\.service: .* at most 63/
          : new RegExp(
              `^release\\.yaml:\\d+:\\d+: spec\\.target\\.kubernetes\\.service: the name has ${longest + 1} characters, and a release makes a Service x+-\\w+, whose name Kubernetes takes up to 63\\. Allowed: a name of at most ${longest}\\.$`,
            ),
      ),
    ]);
    // A Deployment's name has room for more, and one that is too long by itself is told once.
    expect(problemsOf(DESIGN_EXAMPLE.replace('deployment: checkout', `deployment: ${'x'.repeat(63)}`))).toEqual([]);
    expect(problems(64)).toHaveLength(1);
  });

  it('the name of an Ingress leaves room for its twin', () => {
    const problems = (ingress: string): readonly string[] =>
      problemsOf(DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', `nginx: { ingress: ${ingress} }`));
    const [fits, long] = [246, 247].map((length) => 'x'.repeat(length));

    expect(problems(`[web, ${fits}]`)).toEqual([]);
    expect(problems(`[web, ${long}]`)).toEqual([
      expect.stringMatching(
        /traffic\.nginx\.ingress\[1\]: the name has 247 .* an Ingress .* Allowed: a name of at most 246\.$/,
      ),
    ]);
    expect(problems(`${long}`)).toEqual([
      expect.stringMatching(/traffic\.nginx\.ingress: the name has 247 .* Allowed: a name of at most 246\.$/),
    ]);
  });

  it('a blue-green release does not mix the pods of both versions', () => {
    const text = DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', 'replicas: {}').replace(
      '  smokeTest: { path: /healthz }\n',
      '',
    );

    expect(problemsOf(text)).toEqual([]);
    expect(problemsOf(text.replace('service: checkout', 'service: checkout\n      strategy: blueGreen'))[0]).toContain(
      '"replicas" is not allowed with strategy blueGreen',
    );
  });

  it('nothing is tested before its first user where the number of pods is the share', () => {
    const text = DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', 'replicas: {}');
    const path = 'smokeTest: { path: /healthz }';

    expect(text).toContain(path);
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(
        /^release\.yaml:\d+:\d+: spec\.smokeTest: with "replicas" pods get their share .* Allowed: a spec without smokeTest/,
      ),
    ]);
    expect(problemsOf(text.replace(path, 'smokeTest: false'))).toEqual([]);
  });

  it.each([
    ['the usual weights', null, 'spec.target.kubernetes.traffic.replicas', '5 % takes 20 pods'],
    ['a small weight', '[{ weight: 3 }, { weight: 100 }]', 'spec.steps[0].weight', '3 % takes 33 pods'],
    ['weights that ten pods reach', '[{ weight: 10 }, { weight: 25 }, { weight: 100 }]', null, null],
    ['all at once', '[{ weight: 100 }]', null, null],
  ])('warns of shares that take many pods where the pods are the share: %s', (_, steps, path, takes) => {
    const text = DESIGN_EXAMPLE.replace('gatewayAPI: { httpRoute: checkout }', 'replicas: {}')
      .replace('  smokeTest: { path: /healthz }\n', '')
      .replace(/  steps:[\s\S]*?  analysis:/, steps === null ? '  analysis:' : `  steps: ${steps}\n  analysis:`);

    const result = parseSpec(text, 'release.yaml');

    const message = `${path}: with "replicas" a share is a whole number of pods, one at least: ${takes} of both tracks together, and with fewer it comes to more. \`sluice doctor\` says what the pods that there are make of each weight.`;
    expect(result.ok && result.warnings).toEqual(path === null ? [] : [expect.objectContaining({ path, message })]);
  });

  it('warns where names may be mixed up, without refusing', () => {
    const mixed = parseSpec(prometheusDocument('').replace(', labels: { job: shop }', ''), 'release.yaml');
    const otherService = parseSpec(DESIGN_EXAMPLE.replace('service: checkout', 'service: web'), 'release.yaml');

    expect(mixed.ok && mixed.warnings.map((warning) => warning.path)).toEqual(['spec.analysis.source.prometheus']);
    expect(otherService.ok && otherService.warnings.map((warning) => warning.message)).toEqual([
      'spec.target.kubernetes.service: the Service is "web", but {{service}} in queries stands for metadata.name, "checkout".',
    ]);
  });
});

describe('counters that are summed over all targets', () => {
  const warned = (metric: string): (readonly [path: string, message: string])[] => {
    const result = parseSpec(prometheusDocument(`    metrics: [{ name: own, ${metric} }]`), 'release.yaml');
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    return result.warnings.map(({ path, message }) => [path, message] as const);
  };
  const track = '{track="{{track}}"}';

  it('are warned of, by the key that has them', () => {
    const found = warned(`bad: 'sum(bad${track})', total: 'sum by (instance) (all${track})'`);

    expect(found).toEqual([
      [
        'spec.analysis.metrics[0].bad',
        'spec.analysis.metrics[0].bad: it sums over all targets: whenever one goes, the sum falls, and that batch cannot be counted. Better: sum by (job, instance) (…).',
      ],
    ]);
  });

  it.each([
    ['sum (a)', true],
    ['sum by () (a)', true],
    ['sum(a) - sum(b)', true],
    ['sum(sum by (job) (a))', true],
    ['sum by (job) (a)', false],
    ['sum(a) by (job)', false],
    ['sum(a) without (pod)', false],
    ['sum without (pod) (a)', false],
    ['a', false],
    ['sum_of_all', false],
  ])('%s: %s', (total, isWarned) => {
    expect(warned(`bad: b, total: '${total}'`)).toHaveLength(isWarned ? 1 : 0);
  });

  it.each([
    ['sum by (le) (a)', true],
    ['sum(a) by (le)', true],
    ['sum by (le, instance) (a)', false],
  ])('%s: %s', (buckets, isWarned) => {
    expect(warned(`query: q, unit: seconds, buckets: '${buckets}'`)).toHaveLength(isWarned ? 1 : 0);
  });
});

describe('a ratio whose events cannot be counted from its query', () => {
  const warned = (metric: string, more = ''): (readonly [path: string, message: string])[] => {
    const result = parseSpec(prometheusDocument(`    metrics: [{ name: own, ${metric} }]${more}`), 'release.yaml');
    if (!result.ok) throw new Error(JSON.stringify(result.problems));
    return result.warnings.map(({ path, message }) => [path, message] as const);
  };
  const grown = (series: string): string => `sum(increase(${series}{track="{{track}}"}[{{window}}]))`;
  const metric = (numerator: string, denominator: string): string =>
    `numerator: '${numerator}', denominator: '${denominator}', max: 5%`;

  it('is warned of, with what its query must be and what happens instead', () => {
    const found = warned(metric(`${grown('bad')} or vector(0)`, grown('all')));

    expect(found).toEqual([
      [
        'spec.analysis.metrics[0].numerator',
        'spec.analysis.metrics[0].numerator: the events of own cannot be counted from its query, so it is compared with stable at each look anew, with the whole alpha (0.01) each time: the longer a soak, the more healthy versions fail by chance. Better: sum(increase(SERIES{…}[{{window}}])) and nothing around it, as numerator and as denominator; or the counters themselves, as bad and total.',
      ],
    ]);
    expect(warned(metric(grown('bad'), `${grown('all')} * 1`)).map(([path]) => path)).toEqual([
      'spec.analysis.metrics[0].denominator',
    ]);
  });

  it.each([
    ['its counters are known', metric(grown('bad'), grown('all')), ''],
    ['nothing is compared', metric(`${grown('bad')} * 1`, grown('all')), '\n    compare: false'],
    ['nothing acts on it', `${metric(`${grown('bad')} * 1`, grown('all'))}, dryRun: true`, ''],
  ])('is no matter where %s', (_why, own, more) => {
    expect(warned(own, more)).toEqual([]);
  });
});

describe('anything at all', () => {
  function check(text: string): void {
    const result = parseSpec(text, 'f');
    if (result.ok) return;
    expect(result.problems.length).toBeGreaterThan(0);
    const lineCount = text.split('\n').length;
    for (const [index, problem] of result.problems.entries()) {
      expect(problem.line).toBeGreaterThanOrEqual(1);
      expect(problem.line).toBeLessThanOrEqual(lineCount);
      expect(problem.column).toBeGreaterThanOrEqual(1);
      expect(problem.message).toMatch(/\S[.]$/);
      const before = result.problems[index - 1];
      if (before !== undefined)
        expect(before.line * 1e6 + before.column).toBeLessThanOrEqual(problem.line * 1e6 + problem.column);
    }
  }

  it('is answered with problems, never with an exception: random text', () => {
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...'ab: -{}[],&*!|>\'"%@`\n\t#?0.\\<') }), check), {
      numRuns: 300,
    });
    fc.assert(fc.property(fc.string({ unit: 'binary' }), check));
  });

  it('is answered with problems, never with an exception: random documents of known keys', () => {
    const key = fc.constantFrom(
      'spec',
      'metadata',
      'target',
      'steps',
      'weight',
      'soak',
      'approve',
      'analysis',
      'metrics',
      'name',
      'max',
      'source',
      'router',
      '__proto__',
      'x',
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { depthSize: 'small' },
        fc.constantFrom(5, '5%', '60s', null, true, 'x', -1, 1e400),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }));
    const document = fc.record({
      apiVersion: fc.constant('sluice.dev/v1'),
      kind: fc.constant('Release'),
      metadata: tree,
      spec: fc.record({ target: tree, steps: tree, analysis: tree, notify: tree }, { requiredKeys: [] }),
    });

    fc.assert(
      fc.property(document, (value) => check(stringify(value))),
      { numRuns: 300 },
    );
  });

  it('is answered with problems, never with an exception: the example with a slip of the finger', () => {
    const slip = fc.record({ at: fc.nat(DESIGN_EXAMPLE.length), drop: fc.nat(6), insert: fc.string({ maxLength: 4 }) });

    fc.assert(
      fc.property(slip, ({ at, drop, insert }) =>
        check(DESIGN_EXAMPLE.slice(0, at) + insert + DESIGN_EXAMPLE.slice(at + drop)),
      ),
      { numRuns: 300 },
    );
  });
});

describe('loadSpecFile', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-spec-'));
  afterAll(() => rmSync(directory, { recursive: true }));

  function file(name: string, content: string | Buffer): string {
    const path = join(directory, name);
    writeFileSync(path, content);
    return path;
  }

  it('reads and validates a file under its own name', async () => {
    const path = file('bad.yaml', 'a: 1\n');

    expect(await loadSpecFile(file('good.yaml', DESIGN_EXAMPLE))).toMatchObject({ ok: true });
    expect(await loadSpecFile(path)).toMatchObject({
      ok: false,
      problems: [{ file: path }, { file: path }, { file: path }, { file: path }, { file: path }],
    });
  });

  it('says in one sentence why a file cannot be read', async () => {
    const missing = join(directory, 'none.yaml');
    const large = file('large.yaml', 'x'.repeat(1024 * 1024 + 1));
    const binary = file('binary.yaml', Buffer.from([0x61, 0xff, 0xfe]));

    await expect(loadSpecFile(missing)).rejects.toMatchObject({ code: 'usage', message: `${missing} does not exist.` });
    await expect(loadSpecFile(join(large, 'x'))).rejects.toMatchObject({
      code: 'usage',
      message: `${large}/x does not exist.`,
    });
    await expect(loadSpecFile(directory)).rejects.toMatchObject({
      code: 'usage',
      message: `${directory} is a directory, not a file.`,
    });
    await expect(loadSpecFile(large)).rejects.toMatchObject({
      code: 'usage',
      message: `${large} is larger than 1 MiB.`,
    });
    await expect(loadSpecFile(binary)).rejects.toMatchObject({
      code: 'usage',
      message: `${binary} is not UTF-8 text.`,
    });
    await expect(loadSpecFile('a\0b')).rejects.toBeInstanceOf(ReleaseError);
  });

  it('loadSpec throws all problems as one error', async () => {
    const path = file('wrong.yaml', routerDocument('  onFailure: x\n  onConflict: y\n'));

    await expect(loadSpec(path)).rejects.toMatchObject({
      code: 'invalid-spec',
      message:
        `${path}:6:14: spec.onFailure: "x" is not known. Allowed: rollback, pause.\n` +
        `${path}:7:15: spec.onConflict: "y" is not known. Allowed: reject, queue, supersede.`,
    });
  });
});
