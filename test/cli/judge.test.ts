import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { run } from './harness';
import type { Ran } from './harness';

const ONE = {
  alpha: 0.01,
  tolerate: 1,
  clusters: 1,
  onset: null,
  metrics: [{ name: 'errors', batches: [{ canary: { bad: 3, total: 25 }, stable: { bad: 0, total: 475 } }] }],
};
const ALIKE = [100, 101, 102, 103, 104, 105, 106, 107, 108, 109];
const CONFIG = {
  name: 'checkout',
  judge: { name: 'NetflixACAJudge-v1.0', judgeConfigurations: {} },
  metrics: [
    {
      name: 'latency',
      query: { type: 'prometheus', metricName: 'latency' },
      groups: ['g'],
      analysisConfigurations: { canary: { direction: 'increase', effectSize: { allowedIncrease: '1.1' } } },
      scopeName: 'default',
    },
  ],
  templates: {},
  classifier: { groupWeights: { g: 100 }, scoreThresholds: { pass: 95, marginal: 75 } },
};

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-judge-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

function judge(input: unknown, ...args: string[]): Promise<Ran> {
  return run(['judge', '-', ...args], { input: typeof input === 'string' ? input : JSON.stringify(input) });
}

async function file(name: string, content: unknown): Promise<string> {
  const target = path.join(directory, name);
  await writeFile(target, typeof content === 'string' ? content : JSON.stringify(content));
  return target;
}

async function kayenta(config: unknown, data: unknown, ...args: string[]): Promise<Ran> {
  return run(['judge', '--kayenta', await file('config.json', config), await file('data.json', data), ...args]);
}

/** The lines on stderr without the file's name, which is a path of this machine. */
function problems({ err }: Ran): string[] {
  return err
    .trimEnd()
    .split('\n')
    .map((line) => line.replace(/^Error: /u, '').replace(/^\S+\.json: |^standard input: /u, ''));
}

describe('sluice judge', () => {
  it('answers with ln E after each batch and a verdict', async () => {
    const ran = await run(['judge', await file('counts.json', ONE), '-o', 'json']);

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ran.out)).toEqual({
      metrics: [{ name: 'errors', lnE: [expect.closeTo(6.4778, 4)], verdict: 'fail' }],
      verdict: 'fail',
    });
  });

  it('shares alpha over metrics, and judges histograms', async () => {
    const latency = {
      name: 'latency',
      batches: [
        { canary: { cumulative: [40, 80, 110, 150] }, stable: { cumulative: [760, 1520, 2090, 2850] } },
        { canary: { cumulative: [40, 80, 110, 150] }, stable: { cumulative: [760, 1520, 2090, 2850] } },
      ],
    };
    const ran = await judge({ ...ONE, metrics: [...ONE.metrics, latency] }, '--json');

    expect(JSON.parse(ran.out)).toMatchObject({
      metrics: [
        { verdict: 'fail' },
        { name: 'latency', lnE: [expect.any(Number), expect.any(Number)], verdict: 'pass' },
      ],
      verdict: 'fail',
    });
  });

  it("takes the product's defaults for what is left out", async () => {
    const defaults = { alpha: 0.01, tolerate: 1.25, clusters: 2, onset: { plannedBatches: 36 } };

    expect((await judge({ metrics: ONE.metrics }, '--json')).out).toBe(
      (await judge({ ...defaults, metrics: ONE.metrics }, '--json')).out,
    );
  });

  it('tells people in a table and a sentence', async () => {
    const ran = await judge(ONE);

    expect(ran.out).toBe(
      [
        'METRIC  VERDICT  BATCHES  LN E  HIGHEST  FAILS AT',
        'errors  fail     1        6.48  6.48     4.61',
        '',
        'errors: 3 of 3 errors came from the canary, which had 5 % of the requests: evidence 651 to 1, and it',
        'fails at 100 to 1.',
        'Verdict: fail',
        '',
      ].join('\n'),
    );
  });

  it.each([
    [ONE.metrics, 3],
    [[{ name: 'e', batches: [{ canary: { bad: 0, total: 25 }, stable: { bad: 1, total: 475 } }] }], 0],
    [[{ name: 'e', batches: [] }], 8],
  ])('ends with the code of the verdict when it is asked to', async (metrics, code) => {
    expect(await judge({ ...ONE, metrics }, '--exit-code')).toMatchObject({ code });
    expect(await judge({ ...ONE, metrics })).toMatchObject({ code: 0 });
  });

  const counts = (canary: unknown, stable: unknown = { bad: 0, total: 9 }): unknown => ({
    metrics: [
      {
        name: 'e',
        batches: [
          { canary: { bad: 0, total: 9 }, stable: { bad: 0, total: 9 } },
          { canary, stable },
        ],
      },
    ],
  });
  it.each([
    [
      'a negative count',
      counts({ bad: -1, total: 9 }),
      'metrics[0].batches[1].canary.bad: -1 is no count.',
      'a whole number from 0 to 9007199254740991',
    ],
    [
      'more bad than all',
      counts({ bad: 10, total: 9 }),
      'metrics[0].batches[1].canary.bad: 10 is more than the total, 9.',
      'a whole number from 0 to 9',
    ],
    [
      'a fraction',
      counts({ bad: 1, total: 9.5 }),
      'metrics[0].batches[1].canary.total: 9.5 is no count.',
      'a whole number',
    ],
    [
      'NaN',
      JSON.stringify(counts({ bad: 'x', total: 9 })).replace('"x"', 'NaN'),
      'metrics[0].batches[1].canary.bad: "NaN" is no count.',
      'a whole number',
    ],
    [
      'null',
      counts({ bad: null, total: 9 }),
      'metrics[0].batches[1].canary.bad: nothing is no count.',
      'a whole number',
    ],
    [
      'another kind of counts',
      counts({ cumulative: [1, 2] }),
      'metrics[0].batches[1].canary: a histogram of 2 counts, and',
      'the same boundaries, or {bad, total}',
    ],
    [
      'an unknown key',
      { ...ONE, alhpa: 1 },
      'unknown key "alhpa" in the input; did you mean "alpha"?',
      'alpha, tolerate, clusters, onset, metrics',
    ],
    [
      'an unknown key of a metric',
      { metrics: [{ name: 'e', batches: [], x: 1 }] },
      'metrics[0]: unknown key "x" in the metric.',
      'name, batches',
    ],
    [
      'an unknown key of an arm',
      counts({ bad: 0, total: 9, x: 1 }),
      'metrics[0].batches[1].canary: unknown key "x"',
      'bad and total, or cumulative',
    ],
    ['no metrics', { metrics: [] }, 'metrics: the list is empty.', 'one metric'],
    [
      'two metrics of a name',
      { metrics: [ONE.metrics[0], ONE.metrics[0]] },
      'metrics[1].name: "errors" is metrics[0], too.',
      'a name of its own',
    ],
    ['an alpha that is none', { ...ONE, alpha: 2 }, 'alpha: 2 is not allowed here.', 'a number from 0.000001 to 0.5'],
    ['no batch planned', { ...ONE, onset: { plannedBatches: 0 } }, 'onset.plannedBatches: 0', 'a whole number from 1'],
    ['a list', [], 'a list is no input.', 'a mapping of alpha'],
    ['no JSON', '{"metrics": [', 'standard input is not JSON:', 'JSON file with counts to be judged'],
  ])('refuses %s in a sentence that says where and what is allowed', async (_what, input, begins, allowed) => {
    const ran = await judge(input);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(problems(ran)[0]?.slice(0, begins.length)).toBe(begins);
    expect(ran.err).toContain(allowed);
  });

  it.each([
    ['falls', [1, 5, 3], 'canary.cumulative[2]: 3 is less than the count before it, 5.'],
    ['has no boundary', [7], 'canary.cumulative: a list of 1 is no histogram.'],
    ['is a number', 7, 'canary.cumulative: 7 is no histogram.'],
    ['has a negative count', [-1, 4], 'canary.cumulative[0]: -1 is no count.'],
    [
      'has other boundaries',
      [1, 2, 3, 4],
      "stable: a histogram of 3 counts, and the metric's first batch has a histogram of 4 counts.",
    ],
  ])('refuses a histogram that %s', async (_what, cumulative, sentence) => {
    const ran = await judge({
      metrics: [{ name: 'l', batches: [{ canary: { cumulative }, stable: { cumulative: [1, 2, 3] } }] }],
    });

    expect(ran.code).toBe(2);
    expect(problems(ran)[0]).toContain(`metrics[0].batches[0].${sentence}`);
  });

  it('names each problem once, and machines get the error as a document', async () => {
    const ran = await judge(counts({ bad: -1, total: -9 }), '--json');

    expect(problems(ran)).toHaveLength(2);
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'Error', error: { code: 'usage' } });
  });

  it('says which file it cannot read', async () => {
    const missing = await run(['judge', path.join(directory, 'none.json')]);
    const folder = await run(['judge', directory]);

    expect(missing).toMatchObject({ code: 2, err: expect.stringContaining('none.json does not exist.') });
    expect(folder).toMatchObject({ code: 2, err: expect.stringContaining('is a directory, not a file.') });
  });

  it('has exact intervals only for Kayenta', async () => {
    expect(await judge(ONE, '--exact')).toMatchObject({ code: 2, err: expect.stringContaining('--kayenta alone') });
  });
});

describe('sluice judge --kayenta', () => {
  it('classifies, scores and says so', async () => {
    const ran = await kayenta(CONFIG, { latency: { control: ALIKE, experiment: ALIKE } }, '-o', 'json');

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse(ran.out)).toEqual({
      metrics: [{ name: 'latency', classification: 'Pass' }],
      groups: { g: 100 },
      score: 100,
      classification: 'Pass',
    });
  });

  it.each([[[]], [['--exact']]])('sees what is slower, with %j', async (args) => {
    const slower = ALIKE.map((value) => value * 1.5);
    const ran = await kayenta(CONFIG, { latency: { control: ALIKE, experiment: slower } }, '--exit-code', ...args);

    expect(ran.code).toBe(3);
    expect(ran.out).toContain('latency  High');
    expect(ran.out).toContain('Score 0 of 100: Fail, as 95 passes and 75 is marginal.');
  });

  it('takes null, "NaN" and NaN for no value, and a metric that is missing for no data', async () => {
    const series = JSON.stringify({ control: [null, 'NaN', 'x', ...ALIKE], experiment: ALIKE }).replace('"x"', 'NaN');

    expect(JSON.parse((await kayenta(CONFIG, `{"latency":${series}}`, '--json')).out)).toMatchObject({ score: 100 });
    expect(JSON.parse((await kayenta(CONFIG, {}, '--json')).out)).toMatchObject({
      metrics: [{ classification: 'Nodata' }],
      classification: 'Fail',
    });
  });

  it('names every problem of a config', async () => {
    const [metric] = CONFIG.metrics;
    const broken = {
      judge: { name: 'OtherJudge' },
      metrics: [
        { ...metric, groups: [] },
        { ...metric, analysisConfigurations: { canary: { direction: 'up', nanStrategi: 'remove', critical: 'yes' } } },
      ],
      classifier: { groupWeights: { g: 30, h: 'x' }, scoreThresholds: { pass: 110 } },
    };

    const ran = await kayenta(broken, {});

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(problems(ran).sort()).toEqual([
      'classifier.groupWeights.h: "x" is not allowed here. Allowed: a number from 0 to 100.',
      'classifier.scoreThresholds.pass: 110 is not allowed here. Allowed: a number from 0 to 100.',
      'judge.name: "OtherJudge" is not known. Allowed: NetflixACAJudge-v1.0.',
      'metrics[0].groups: the list is empty. Allowed: one group at least.',
      'metrics[1].analysisConfigurations.canary.critical: "yes" is not allowed here. Allowed: true or false.',
      'metrics[1].analysisConfigurations.canary.direction: "up" is not known. Allowed: increase, decrease, either.',
      'metrics[1].analysisConfigurations.canary: unknown key "nanStrategi" in the analysisConfigurations.canary; did you mean "nanStrategy"? Allowed: direction, nanStrategy, outliers, critical, mustHaveData, muted, effectSize.',
    ]);
  });

  it.each([
    [{ groupWeights: { g: 60 } }, 'classifier.groupWeights: the weights are 60 in all.'],
    [{ groupWeights: { g: 60, other: 40 } }, 'classifier.groupWeights: no metric is in the group "other".'],
    [{ scoreThresholds: { pass: 50 } }, 'classifier.scoreThresholds.marginal: 75 is above the pass threshold, 50.'],
  ])('refuses the classifier %j', async (classifier, sentence) => {
    expect(problems(await kayenta({ ...CONFIG, classifier }, {}))[0]).toContain(sentence);
  });

  it('refuses data that the config does not know, and what is no value', async () => {
    const series = { control: ALIKE, experiment: [...ALIKE, 'fast'] };
    const [metric] = CONFIG.metrics;
    const twice = { ...CONFIG, metrics: [metric, metric] };

    expect(problems(await kayenta(CONFIG, { latenzy: { control: [], experiment: [] } }))[0]).toBe(
      'latenzy: the config has no metric of that name; did you mean "latency"? Allowed: latency.',
    );
    expect(problems(await kayenta(CONFIG, { latency: series }))[0]).toContain(
      'latency.experiment[10]: "fast" is no value.',
    );
    expect(problems(await kayenta(twice, {}))[0]).toContain('metrics[1].name: "latency" is metrics[0], too.');
    expect((await run(['judge', '--kayenta', '-', '-'])).err).toContain('cannot both come from the standard input');
  });
});
