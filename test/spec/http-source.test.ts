import { describePlan } from '../../src/spec/describe-plan';
import { plan } from '../../src/spec/plan';
import { problemsOf, routerDocument, validSpec } from './documents';

function documentOf(metrics: string, more = ''): string {
  return routerDocument(`  analysis:
    source: { http: { tokenEnv: SLUICE_HTTP_METRICS_TOKEN, timeout: 2s } }
${more}${metrics === '' ? '' : `    metrics:\n      - ${metrics}\n`}`);
}

const HTTP = 'http: { url: "https://m.example/{{track}}", value: $.rate, requests: $.n }';

describe('the source http', () => {
  it('makes a plan whose metrics are held against limits, and counted by nothing', () => {
    const spec = validSpec(documentOf(`{ name: errors, unit: ratio, max: 5%, maxRatio: 3, ${HTTP} }`));
    const planned = plan(spec, 'v2');

    expect(planned.analysis.source).toEqual({ kind: 'http', tokenEnv: 'SLUICE_HTTP_METRICS_TOKEN', timeoutMs: 2_000 });
    expect(planned.analysis).toMatchObject({ evidence: null, compare: null });
    expect(planned.analysis.metrics).toEqual([
      {
        ...{ name: 'errors', unit: 'ratio', max: 0.05, min: null, maxRatio: 3 },
        query: { kind: 'http', url: 'https://m.example/{{track}}', value: '$.rate', requests: '$.n' },
      },
    ]);
    expect(describePlan(planned).metrics[0]?.limits).not.toContain('compared');
    expect(describePlan(planned).metrics[0]?.queries).toEqual([
      { track: 'canary', part: '$.rate', query: 'https://m.example/canary' },
      { track: 'canary', part: 'requests, $.n', query: 'https://m.example/canary' },
      { track: 'stable', part: '$.rate', query: 'https://m.example/stable' },
      { track: 'stable', part: 'requests, $.n', query: 'https://m.example/stable' },
    ]);
  });

  it.each([
    ['no metrics', '', /the source http has no metrics of its own, and none are given/],
    [
      'a metric of a preset',
      '{ name: error-rate, max: 5% }',
      /the metric error-rate does not say where it is\. Allowed: http/,
    ],
    ['PromQL', '{ name: e, unit: count, max: 1, query: up }', /query is PromQL, and the source is http/],
    ['no unit', `{ name: e, max: 5, ${HTTP} }`, /http is given without unit/],
    ['no limit', `{ name: e, unit: ratio, ${HTTP} }`, /the metric e has no limit and would judge nothing/],
    [
      'an objective',
      `{ name: e, unit: ratio, max: 5%, objective: 1%, ${HTTP} }`,
      /nothing is counted that could be held against it/,
    ],
    [
      'a path that is none',
      '{ name: e, unit: ratio, max: 5%, http: { url: "https://m.example/", value: "$.a[" } }',
      /value: "\$\.a\[" is no JSONPath/,
    ],
    [
      'a path without its root',
      '{ name: e, unit: ratio, max: 5%, http: { url: "https://m.example/", value: a } }',
      /Allowed: a JSONPath that begins with \$/,
    ],
    [
      'a server by a placeholder',
      '{ name: e, unit: ratio, max: 5%, http: { url: "https://{{service}}/", value: $.a } }',
      /url: the address has no http:\/\/ or https:\/\/ server of its own/,
    ],
    ['no address', '{ name: e, unit: ratio, max: 5%, http: { value: $.a } }', /url/],
    [
      'another key',
      '{ name: e, unit: ratio, max: 5%, http: { url: "https://m.example/", value: $.a, header: x } }',
      /header/,
    ],
  ])('refuses %s', (_what, metric, problem) => {
    expect(problemsOf(documentOf(metric))).toEqual([expect.stringMatching(problem)]);
  });

  it('refuses a preset, evidence that it cannot have, and variables that are not its own', () => {
    const metric = `{ name: e, unit: ratio, max: 5%, ${HTTP} }`;

    expect(problemsOf(documentOf(metric, '    preset: http\n'))).toEqual([
      expect.stringMatching(/a preset is made of PromQL/),
    ]);
    expect(problemsOf(documentOf(metric, '    until: evidence\n'))).toEqual([
      expect.stringMatching(/no metric can prove anything/),
    ]);
    expect(problemsOf(documentOf(metric).replace('SLUICE_HTTP_METRICS_TOKEN', 'AWS_SECRET'))).toEqual([
      expect.stringMatching(/SLUICE_HTTP_METRICS_TOKEN or SLUICE_HTTP_METRICS_TOKEN_<SUFFIX>/),
    ]);
  });

  it('is where its metrics belong', () => {
    const text = routerDocument(`  analysis:\n    metrics:\n      - { name: e, unit: ratio, max: 5%, ${HTTP} }\n`);

    expect(problemsOf(text)).toEqual([expect.stringMatching(/the source is router, and asks no addresses/)]);
  });
});
