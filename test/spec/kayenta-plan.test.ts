import { plan } from '../../src/spec/plan';
import { describePlan } from '../../src/spec/describe-plan';
import { problemsOf, routerDocument, validSpec } from './documents';

/** A release over a router with Kayenta's judge; `kayenta` is the inner part of its config, on one line. */
function document(kayenta: string, { analysis = 'interval: 5s, window: 5s', steps = '' } = {}): string {
  return routerDocument(`  analysis: { ${analysis}, kayenta: { ${kayenta} } }\n${steps}`);
}

const metric = (name: string, canary = ''): string =>
  `{ name: ${name}, groups: [g], analysisConfigurations: { canary: { ${canary} } } }`;

/** Problems without their places. */
function messagesOf(text: string): string[] {
  return problemsOf(text).map((problem) => problem.replace(/^release\.yaml:\d+:\d+: /u, ''));
}

describe("Kayenta's judge in a spec", () => {
  it('comes into the plan as plain JSON, with its defaults', () => {
    const text = document(
      `metrics: [${metric('error-rate', 'direction: increase, critical: true')}, ${metric('p95-latency')}], classifier: { groupWeights: { g: 100 }, scoreThresholds: { pass: 90, marginal: 70 } }`,
    );

    const planned = plan(validSpec(text), 'v2');

    expect(JSON.parse(JSON.stringify(planned.analysis.kayenta))).toEqual(planned.analysis.kayenta);
    expect(planned.analysis.kayenta).toMatchObject({
      metrics: [
        { name: 'error-rate', groups: ['g'], direction: 'increase', critical: true, nanStrategy: 'remove' },
        { name: 'p95-latency', direction: 'either', critical: false },
      ],
      groupWeights: { g: 100 },
      scoreThresholds: { pass: 90, marginal: 70 },
    });
    expect(describePlan(planned).notes).toContain(
      "At the end of each soak below 100 % Kayenta's judge compares the values that the looks had of error-rate, p95-latency: a score of 90 passes, 70 is inconclusive, and less fails the step.",
    );
  });

  it('takes the JSON of Kayenta as it is', () => {
    const config = {
      name: 'checkout',
      applications: ['checkout'],
      judge: { name: 'NetflixACAJudge-v1.0', judgeConfigurations: {} },
      metrics: [{ name: 'error-rate', query: { type: 'prometheus' }, groups: ['g'], scopeName: 'default' }],
      templates: {},
      classifier: { groupWeights: { g: 100 } },
    };
    const pasted = JSON.stringify(config, null, 2).replaceAll('\n', '\n      ');

    const text = routerDocument(`  analysis:\n    interval: 5s\n    window: 5s\n    kayenta:\n      ${pasted}\n`);

    expect(plan(validSpec(text), 'v2').analysis.kayenta?.metrics).toHaveLength(1);
  });

  it('leaves a plan without it as it was, to the byte', () => {
    expect(Object.keys(plan(validSpec(routerDocument()), 'v2').analysis)).not.toContain('kayenta');
  });

  it('tells what is wrong in it at its place', () => {
    const text = routerDocument(`  analysis:
    interval: 5s
    window: 5s
    kayenta:
      metrics:
        - { name: eror-rate, groups: [g] }
        - { name: p95-latency, groups: [g] }
`);

    expect(problemsOf(text)).toEqual([
      'release.yaml:11:19: spec.analysis.kayenta.metrics[0].name: "eror-rate" is no metric of this analysis; did you mean "error-rate"? Allowed: error-rate, p95-latency.',
    ]);
  });

  it.each([
    [
      `metrics: [${metric('error-rate')}], classifier: { scoreThresholds: { pass: 60, marginal: 75 } }`,
      'spec.analysis.kayenta.classifier.scoreThresholds.marginal: 75 is above the pass threshold, 60. Allowed: a number from 0 to 60.',
    ],
    [
      `metrics: [${metric('error-rate', 'direction: up')}]`,
      'spec.analysis.kayenta.metrics[0].analysisConfigurations.canary.direction: "up" is not known. Allowed: increase, decrease, either.',
    ],
    [
      `judge: { name: other }, metrics: [${metric('error-rate')}]`,
      'spec.analysis.kayenta.judge.name: "other" is not known. Allowed: NetflixACAJudge-v1.0.',
    ],
    [
      `metrics: [${metric('error-rate', 'muted: true')}]`,
      'spec.analysis.kayenta.metrics: all metrics are muted, so that none could pass. Allowed: one that is not.',
    ],
  ])('refuses %s', (kayenta, message) => {
    expect(messagesOf(document(kayenta))).toEqual([message]);
  });

  it.each([
    [
      { analysis: 'interval: 5s' },
      "spec.analysis.window: the window is 1m and the interval 5s, and Kayenta's judge compares values of windows that neither overlap nor leave anything out. Allowed: both alike, such as interval: 60s with window: 60s.",
    ],
    [
      { analysis: 'interval: 5s, window: 5s, until: evidence' },
      "spec.analysis.until: Kayenta's judge is asked at the end of a soak. Allowed: until: soak beside kayenta.",
    ],
    [
      { analysis: 'interval: 15s, window: 15s' },
      "spec.analysis.kayenta: 1m, the shortest soak below 100 %, has room for 4 measurements, and Kayenta's judge needs 5 values of each track. Allowed: a longer soak, or a shorter interval.",
    ],
    [
      { steps: '  steps: [{ weight: 100 }]\n' },
      'spec.analysis.kayenta: no step has a weight below 100, and at 100 % nothing is left to compare with. Allowed: kayenta with a weight below 100.',
    ],
    [
      { analysis: 'interval: 5s, window: 5s, metrics: [{ name: error-rate, max: 5%, dryRun: true }]' },
      `spec.analysis.kayenta.metrics[0].name: "error-rate" has dryRun: true, and would be acted on by Kayenta's judge. Allowed: muted: true here, or the metric without dryRun.`,
    ],
  ])('must fit to the rest: %j', (rest, message) => {
    expect(messagesOf(document(`metrics: [${metric('error-rate')}]`, rest))).toEqual([message]);
  });

  it.each(['[]', 'x', '5'])('is a mapping, and not %s', (kayenta) => {
    const [message] = messagesOf(routerDocument(`  analysis: { kayenta: ${kayenta} }\n`));

    expect(message).toMatch(/is not allowed here\. Allowed: a canary config of Kayenta, as its JSON\.$/u);
  });
});
