import { asksUpToAMoment, resolveUrl, urlTemplateProblems } from '../../src/spec/url-template';

const VALUES = {
  ...{ service: 'check/out', namespace: 'shop', track: 'canary', version: '1.4&x=y #?%', windowMs: 90_000 },
  ...{ start: '1700000000', end: '1700000090' },
};

describe('an address with placeholders', () => {
  it('is filled in with every value encoded, and its server as it stands', () => {
    const template =
      'https://metrics.example:9000/{{service}}/x?ns={{ namespace }}&v={{version}}&w={{window}}&t={{track}}';

    expect(urlTemplateProblems(template)).toEqual([]);
    const url = new URL(resolveUrl(template, VALUES));
    expect(url.host).toBe('metrics.example:9000');
    expect(url.pathname).toBe('/check%2Fout/x');
    expect(Object.fromEntries(url.searchParams)).toEqual({ ns: 'shop', v: VALUES.version, w: '90s', t: 'canary' });
    expect(url.hash).toBe('');
  });

  it('has the ends of the window where it names them', () => {
    const template = 'https://metrics.example/render?from={{start}}&until={{ end }}';

    expect(urlTemplateProblems(template)).toEqual([]);
    expect(resolveUrl(template, VALUES)).toBe('https://metrics.example/render?from=1700000000&until=1700000090');
    expect(asksUpToAMoment(template)).toBe(true);
    expect(asksUpToAMoment('https://metrics.example/?end=1&from={{start}}')).toBe(false);
  });

  it.each([
    ['https://{{service}}.example/', /no http:\/\/ or https:\/\/ server of its own/],
    ['https://metrics.example{{service}}/', /no http:\/\/ or https:\/\/ server of its own/],
    ['https://user:secret@metrics.example/', /without credentials/],
    ['ftp://metrics.example/', /no http:\/\/ or https:\/\//],
    ['https:\\\\metrics.example/', /no http:\/\/ or https:\/\//],
    ['https://metrics.example/#{{service}}', /fragment/],
    ['https://metrics.example/a b', /white space/],
    ['https://metrics.example/x/../y', /goes up/],
    ['https://metrics.example/?v={{verson}}', /unknown placeholder "\{\{verson\}\}"; did you mean "\{\{version\}\}"\?/],
    ['https://metrics.example/?v={{version', /not closed/],
  ])('is refused when it is %s', (template, problem) => {
    const problems = urlTemplateProblems(template);

    expect(problems).toEqual([expect.stringMatching(problem)]);
    expect(() => resolveUrl(template, VALUES)).toThrow(problems[0]);
  });

  it.each(['..', '.'])('is not led elsewhere by a value of %j', (version) => {
    const values = { ...VALUES, version };

    expect(() => resolveUrl('https://metrics.example/a/{{version}}/b', values)).toThrow(
      'a value would make the path go up',
    );
    expect(resolveUrl('https://metrics.example/a?v={{version}}', values)).toBe(
      `https://metrics.example/a?v=${version}`,
    );
  });
});
