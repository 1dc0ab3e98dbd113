import fc from 'fast-check';
import { isSameImage, parseImage } from '../../src/spec/image-reference';

const digest = `sha256:${'0a'.repeat(32)}`;

const CAPITALS = 'is not an image reference: its name has capital letters, and small ones alone are allowed';

describe('an image reference', () => {
  it.each([
    ['nginx', { name: 'nginx', host: null, path: 'nginx', tag: null, digest: null }],
    ['nginx:1.25', { name: 'nginx', host: null, path: 'nginx', tag: '1.25', digest: null }],
    ['acme/checkout:v1', { name: 'acme/checkout', host: null, path: 'acme/checkout', tag: 'v1', digest: null }],
    ['ghcr.io/acme/checkout:v1', { name: 'ghcr.io/acme/checkout', host: 'ghcr.io', path: 'acme/checkout', tag: 'v1' }],
    ['localhost/checkout:v1', { host: 'localhost', path: 'checkout', tag: 'v1' }],
    [
      'localhost:5000/checkout',
      { name: 'localhost:5000/checkout', host: 'localhost:5000', path: 'checkout', tag: null },
    ],
    ['[::1]:5000/a/b:v1', { host: '[::1]:5000', path: 'a/b', tag: 'v1' }],
    [`a/b:v1@${digest}`, { name: 'a/b', host: null, path: 'a/b', tag: 'v1', digest }],
    [`ghcr.io/a@${digest}`, { host: 'ghcr.io', path: 'a', tag: null, digest }],
  ])('%s has its parts', (image, parts) => {
    expect(parseImage(image)).toMatchObject({ kind: 'image', ...parts });
  });

  it.each([
    ['', 'is not an image reference'],
    ['Checkout:v1', CAPITALS],
    ['ghcr.io/Acme/checkout:v1', CAPITALS],
    ['https://ghcr.io/a:v1', 'has a registry host that is not allowed'],
    ['ghcr.io:99999/a:v1', 'has a registry host that is not allowed'],
    ['-a.io/a:v1', 'has a registry host that is not allowed'],
    ['a:', 'has a tag that is not allowed'],
    ['a:-x', 'has a tag that is not allowed'],
    ['a@sha256:123', 'has a digest that is not sha256: and 64 lower-case hex digits'],
    [`a@${digest}@${digest}`, 'has more than one "@"'],
    [`${'a'.repeat(256)}:v1`, 'has a name of more than 255 characters'],
  ])('%j is none', (image, reason) => {
    expect(parseImage(image)).toEqual({ kind: 'refused', reason });
  });

  it('is put together again from its parts, and none leads to an address that is not its registry (property)', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,8})?$/);
    const host = fc.option(fc.constantFrom('ghcr.io', 'localhost:5000', 'Reg.test', '10.0.0.1:443', '[::1]:5000'), {
      nil: null,
    });
    const tag = fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/), { nil: null });
    const path = fc.array(component, { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(host, path, tag, fc.option(fc.constant(digest), { nil: null }), (host, path, tag, digest) => {
        // Without a host, a first part like `a.b` would be taken for one.
        fc.pre(host !== null || path.length === 1 || !/[.:]/.test(path[0] ?? ''));
        const name = [...(host === null ? [] : [host]), ...path].join('/');
        const image = `${name}${tag === null ? '' : `:${tag}`}${digest === null ? '' : `@${digest}`}`;

        expect(parseImage(image)).toEqual({ kind: 'image', name, host, path: path.join('/'), tag, digest });
      }),
    );
    fc.assert(
      fc.property(fc.string({ maxLength: 40, unit: fc.constantFrom(...'aA0.:/@[]-_?#%\\ \n') }), (text) => {
        const parsed = parseImage(text);

        if (parsed.kind === 'refused') return;
        const url = new URL(
          `https://${parsed.host ?? 'registry.test'}/v2/${parsed.path}/manifests/${parsed.tag ?? 'x'}`,
        );
        expect(url.pathname).toBe(`/v2/${parsed.path}/manifests/${parsed.tag ?? 'x'}`);
        expect([url.username, url.search, url.hash]).toEqual(['', '', '']);
      }),
    );
  });
});

describe('two references', () => {
  const [one, other] = [`sha256:${'1b'.repeat(32)}`, `sha256:${'2c'.repeat(32)}`];

  it.each([
    ['a/b:v1', 'a/b:v1', true],
    ['a/b:v1', 'a/b:v2', false],
    [`a/b:v1@${one}`, `a/b:v2@${one}`, true],
    [`a/b@${one}`, `a/b:v2@${one}`, true],
    [`a/b:v1@${one}`, `a/b:v1@${other}`, false],
    // The same bytes of another registry are pulled from there.
    [`old.test/b:v1@${one}`, `new.test/b:v1@${one}`, false],
    ['a/b:v1', `a/b:v1@${one}`, false],
    ['no image', 'no image', true],
  ])('%s and %s are one image: %s', (first, second, same) => {
    expect([isSameImage(first, second), isSameImage(second, first)]).toEqual([same, same]);
  });
});
