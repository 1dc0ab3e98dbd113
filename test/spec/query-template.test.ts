import fc from 'fast-check';
import { promDuration, resolveQuery, templateProblems } from '../../src/spec/query-template';
import type { QueryValues } from '../../src/spec/query-template';

const VALUES: QueryValues = {
  service: 'checkout',
  namespace: 'shop',
  track: 'canary',
  version: '1.4.2',
  windowMs: 60_000,
};

describe('resolveQuery', () => {
  it.each([
    ['up', 'up'],
    ['a{s="{{service}}",n=\'{{ namespace }}\'}[{{window}}]', 'a{s="checkout",n=\'shop\'}[60s]'],
    ['a{v=~"{{version}}.*"}', 'a{v=~"1\\\\.4\\\\.2.*"}'],
    ['a{v!~ "{{version}}"}', 'a{v!~ "1\\\\.4\\\\.2"}'],
    ['a{v="{{version}}",t!="{{track}}"}', 'a{v="1.4.2",t!="canary"}'],
    [
      'a{x="\\"{{service}}"} # it\'s {{window}}\n/ b{x="{{service}}"}',
      'a{x="\\"checkout"} # it\'s 60s\n/ b{x="checkout"}',
    ],
  ])('fills %s', (template, expected) => {
    expect(templateProblems(template)).toEqual([]);
    expect(resolveQuery(template, VALUES)).toBe(expected);
  });

  it.each([
    ['a{x="{{servcie}}"}', 'unknown placeholder "{{servcie}}"; did you mean "{{service}}"? Allowed:'],
    ['a{x="{{step}}"}', 'unknown placeholder "{{step}}". Allowed:'],
    ['a{x="{{}}"}', 'unknown placeholder "{{}}". Allowed:'],
    ['a{x="{{window"}[5m]', 'unknown placeholder "{{window"}[5m] (not closed)}}". Allowed:'],
    ['{{service}}_total', 'the placeholder "{{service}}" stands outside of quotes. Allowed:'],
    ['a # {{service}}', 'the placeholder "{{service}}" stands in a comment. Allowed:'],
    ['a{x=`{{service}}`}', 'the placeholder "{{service}}" stands in a raw string. Allowed:'],
    ['a # "\n{{version}}', 'the placeholder "{{version}}" stands outside of quotes. Allowed:'],
    ['a{x="\\\\"} + {{version}} + b{x=""}', 'the placeholder "{{version}}" stands outside of quotes. Allowed:'],
  ])('refuses %j', (template, expected) => {
    expect(templateProblems(template).map((problem) => problem.slice(0, expected.length))).toEqual([expected]);
    expect(() => resolveQuery(template, VALUES)).toThrow(TypeError);
  });

  const nasty = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.constantFrom(...'\\"\'`\n\r{}[]()#,=~.*+?|^$a') }),
  );

  it.each(['"', "'"])('lets no value break out of a %s string', (quote) => {
    fc.assert(
      fc.property(nasty, nasty, (version, service) => {
        const template = `a{v=${quote}{{version}}${quote},s!=${quote}x{{service}}${quote}}`;
        const query = resolveQuery(template, { ...VALUES, version, service });

        const [first, second] = stringsOf(query);
        expect(first).toBe(version);
        expect(second).toBe(`x${service}`);
        expect(withoutStrings(query)).toBe('a{v=,s!=}');
      }),
      { numRuns: 1_000 },
    );
  });

  it('lets no value become a pattern after =~', () => {
    fc.assert(
      fc.property(nasty, nasty, (version, other) => {
        const [pattern] = stringsOf(resolveQuery('a{v=~"{{version}}"}', { ...VALUES, version }));

        // Prometheus anchors patterns at both ends.
        const regExp = new RegExp(`^(?:${pattern ?? ''})$`, 's');
        expect(regExp.test(version)).toBe(true);
        if (other !== version) expect(regExp.test(other)).toBe(false);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('promDuration', () => {
  it.each([
    [60_000, '60s'],
    [1_500, '1500ms'],
    [0.2, '1ms'],
    [86_400_000, '86400s'],
  ])('%d ms is %s', (ms, text) => {
    expect(promDuration(ms)).toBe(text);
  });
});

const STRING = /(["'])((?:\\[\s\S]|(?!\1)[^\\\n])*)\1/g;

/** The query's strings as Prometheus reads them (Go's escapes, of which only these four are ever written). */
function stringsOf(query: string): string[] {
  const escapes: Record<string, string> = { n: '\n', r: '\r' };
  return [...query.matchAll(STRING)].map(([, , body]) =>
    (body ?? '').replace(/\\([\s\S])/g, (_, char: string) => escapes[char] ?? char),
  );
}

function withoutStrings(query: string): string {
  return query.replace(STRING, '');
}
