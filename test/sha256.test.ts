import { hash } from 'node:crypto';
import fc from 'fast-check';
import { sha256First48 } from '../src/sha256';

function expected(prefix: string, text: string): number {
  return Number.parseInt(hash('sha256', prefix + text, 'hex').slice(0, 12), 16);
}

describe('the first 48 bits of SHA-256', () => {
  // Of FIPS 180-4's examples.
  it.each([
    ['', 0xe3b0c44298fc],
    ['abc', 0xba7816bf8f01],
    ['abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq', 0x248d6a61d206],
    [
      'abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu',
      0xcf5b16a778af,
    ],
  ])('of %j are as published', (text, bits) => {
    expect(sha256First48('', text)).toBe(bits);
    expect(sha256First48(text, '')).toBe(bits);
  });

  it('are those of node:crypto for every length, in any order', () => {
    // Backwards as well: what a longer text left behind must not be seen in a shorter one.
    const lengths = Array.from({ length: 300 }, (_, length) => length);
    for (const length of [...lengths, ...lengths.toReversed()]) {
      const text = Array.from({ length }, (_, i) => String.fromCharCode(((i * 31 + length) % 127) + 1)).join('');
      for (const at of [0, 1, 7, length >> 1, length]) {
        const [prefix, rest] = [text.slice(0, at), text.slice(at)];
        expect([length, at, sha256First48(prefix, rest)]).toEqual([length, at, expected(prefix, rest)]);
      }
    }
  });

  it.each([
    ['ASCII', fc.string({ unit: 'binary-ascii', maxLength: 150 })],
    ['Unicode', fc.string({ unit: 'grapheme', maxLength: 80 })],
    ['anything, lone surrogates too', fc.string({ unit: 'binary', maxLength: 80 })],
    ['UTF-16 units', fc.array(fc.nat(0xffff), { maxLength: 80 }).map((units) => String.fromCharCode(...units))],
  ])('are those of node:crypto for %s', (_what, text) => {
    fc.assert(
      fc.property(text, text, (prefix, rest) => {
        expect(sha256First48(prefix, rest)).toBe(expected(prefix, rest));
      }),
      { numRuns: 2_000 },
    );
  });

  it('are of both parts put together, also where a surrogate pair is parted', () => {
    expect(sha256First48('a\ud83d', '\ude00b')).toBe(expected('a😀b', ''));
  });
});
