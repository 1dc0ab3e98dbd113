import { describePlan } from '../../src/spec/describe-plan';
import { plan } from '../../src/spec/plan';
import { kayentaMetric } from '../analysis/kayenta-metrics';
import { problemsOf, prometheusDocument, routerDocument, validSpec } from './documents';

const messagesOf = (text: string): string[] =>
  problemsOf(text).map((problem) => problem.replace(/^release\.yaml:\d+:\d+: /u, ''));

describe('analysis.lag', () => {
  it('is in the plan, and told with what follows from it', () => {
    const planned = plan(validSpec(prometheusDocument('    lag: 20s\n')), 'v2');

    expect(planned.analysis).toMatchObject({ lagMs: 20_000, intervalMs: 5_000, minMeasurements: 3 });
    const { rows, notes } = describePlan(planned);
    expect(rows.find(({ name }) => name === 'weight 5 %')?.what).toContain('(about 8 times)');
    expect(notes).toContain(
      "Each measurement is about the time up to 20s before it, since samples may be that late: the first one of a weight comes that much later, and what happens in a weight's last 20s is not judged.",
    );
    // 20 requests in the 40 s that are left of the soak.
    expect(notes).toContainEqual(expect.stringContaining('At 5 % that needs about 10 requests a second'));
  });

  it.each([[''], ['    lag: 0s\n']])('leaves a plan without it as it was, to the byte: %j', (line) => {
    expect(plan(validSpec(prometheusDocument(line)), 'v2')).toEqual(plan(validSpec(prometheusDocument('')), 'v2'));
    expect(plan(validSpec(prometheusDocument(line)), 'v2').analysis).not.toHaveProperty('lagMs');
  });

  it.each([
    [
      'lag: 60s',
      'spec.analysis.lag: 1m leaves no room for a look in the shortest soak, 1m: the first one comes an interval and the lag after that. Allowed: at most 59s, or a longer soak.',
    ],
    [
      'lag: 51s, interval: 5s, initialDelay: 5s',
      'spec.analysis.lag: 51s leaves no room for a look in the shortest soak, 1m after the initialDelay of 5s: the first one comes an interval and the lag after that. Allowed: at most 50s, or a longer soak.',
    ],
    [
      'lag: 2s, interval: 60s',
      'spec.analysis.lag: 2s leaves no room for a look in the shortest soak, 1m: the first one comes an interval and the lag after that. Allowed: a longer soak.',
    ],
    [
      'lag: 45s, minMeasurements: 4',
      'spec.analysis.minMeasurements: 4 measurements do not fit into the shortest soak: 15s at an interval of 5s are 3. Allowed: at most 3, or a longer soak.',
    ],
    [
      'lag: 61m',
      'spec.analysis.lag: "61m" is above 1h. Allowed: a duration with its unit, from 0s to 1h, such as 5s, 60s or 5m.',
    ],
  ])('is refused where it leaves too little: %s', (keys, expected) => {
    const lines = keys.replace(/(^|, )/gu, '\n    ').slice(1);

    expect(messagesOf(prometheusDocument(`${lines}\n`))).toEqual([expected]);
  });

  it('has room in soaks that are long enough, with as many measurements as are left', () => {
    const { analysis } = plan(validSpec(prometheusDocument('    lag: 55s\n')), 'v2');

    expect(analysis).toMatchObject({ lagMs: 55_000, intervalMs: 5_000, minMeasurements: 1 });
  });

  it.each([
    ['router', "the router's own counters", routerDocument('  analysis: { lag: 5s }\n')],
    [
      'flag',
      "the flag's own outcomes",
      routerDocument('  analysis: { lag: 5s }\n').replace(
        /router: \{.*\}(?= \})/u,
        'flag: { name: new-checkout, environment: production }',
      ),
    ],
  ])('is refused for the source %s, which says what is', (_, whose, text) => {
    expect(messagesOf(text)).toEqual([
      `spec.analysis.lag: 5s is for samples that arrive late, and ${whose} say what is, not what was. Allowed: 0s, or a source that is asked about the past (prometheus, http).`,
    ]);
  });

  it('needs addresses that say up to when they ask', () => {
    const metric = (name: string, query: string): string =>
      `      - { name: ${name}, unit: ratio, max: 5%, http: { url: "https://m.example/{{track}}${query}", value: $.rate } }\n`;
    const document = (...metrics: string[]): string =>
      routerDocument(`  analysis:\n    source: { http: {} }\n    lag: 5s\n    metrics:\n${metrics.join('')}`);
    const whole = metric('errors', '?from={{start}}&until={{end}}');

    expect(plan(validSpec(document(whole)), 'v2').analysis.lagMs).toBe(5_000);
    expect(messagesOf(document(whole, metric('slow', '?over={{window}}')))).toEqual([
      'spec.analysis.lag: the address of the metric slow has no {{end}}, and is answered as of when it is asked. Allowed: 0s, or {{end}} in every address.',
    ]);
  });

  it("takes of the time that Kayenta's judge has for its values", () => {
    const config = {
      metrics: [kayentaMetric({ name: 'error-rate', groups: ['g'], direction: 'increase' })],
      classifier: { groupWeights: { g: 100 }, scoreThresholds: { pass: 95, marginal: 75 } },
    };
    const lines = (lag: string): string =>
      `    lag: ${lag}\n    interval: 10s\n    window: 10s\n    kayenta: ${JSON.stringify(config)}\n`;

    const told = messagesOf(prometheusDocument(lines('15s'))).filter((each) => each.includes('has room for'));

    expect(told).toEqual([expect.stringContaining('has room for 4 measurements')]);
    expect(messagesOf(prometheusDocument(lines('10s'))).filter((each) => each.includes('has room for'))).toEqual([]);
  });
});
