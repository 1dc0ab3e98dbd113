import { parseJsonPath, valuesAt } from '../../src/spec/json-path';

const DOCUMENT = {
  data: {
    rate: 0.02,
    series: [
      { scope: 'canary', last: 7 },
      { scope: 'stable', last: 3 },
    ],
  },
  'a..b$$': 1,
};

describe('a JSONPath', () => {
  it.each([
    ['$.data.rate', [0.02]],
    ["$['data']['series'][1].last", [3]],
    ["$.data.series[?@.scope=='canary'].last", [7]],
    ['$.data.series[?length(@.scope) == 6].last', [7, 3]],
    ['$..rate', [0.02]],
    ["$['a..b$$']", [1]],
    ['$.none', []],
  ])('%s finds %j', (text, values) => {
    const parsed = parseJsonPath(text);

    expect(parsed.ok && valuesAt(parsed.path, DOCUMENT)).toEqual(values);
  });

  it.each([
    ['$.', /^is no JSONPath/],
    ['data.rate', /^is no JSONPath/],
    ['$[?@.a==]', /^is no JSONPath/],
    ["$[?match(@.scope, '(a+)+b')]", /^is no JSONPath .*match/],
    ["$[?search(@.scope, '(a+)+b')]", /^is no JSONPath .*search/],
    ['$..a..b', /^goes down \(\.\.\) more than once$/],
    ['$[?@.a == $.b]', /^begins at the root \(\$\) more than once$/],
    ['$.constructor.constructor("return 1")()', /^is no JSONPath/],
  ])('%s is refused', (text, reason) => {
    const parsed = parseJsonPath(text);

    expect(parsed).toEqual({ ok: false, reason: expect.stringMatching(reason) });
  });

  it('finds nothing that is not in the document', () => {
    const parsed = parseJsonPath('$.constructor');

    expect(parsed.ok && valuesAt(parsed.path, {})).toEqual([]);
  });
});
