import { hash } from 'node:crypto';
import { endianness } from 'node:os';

// Names are those of FIPS 180-4.
// prettier-ignore
const K = Int32Array.of(
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
);
/** The message's one block, and the words that are made of it. */
const W = new Int32Array(64);
const BYTES = new Uint8Array(W.buffer, 0, 64);
/** SHA-256 counts the bytes of a word from the highest. */
const SWAP = endianness() === 'LE' ? 3 : 0;
/** What fits into a block, beside a 1 behind it and its length. */
const MAX_BYTES = 55;

/** The prefix that stands in the block from the call before: most calls have the same. */
let held = '';
let isHeldAscii = true;

/**
 * The first 48 bits of SHA-256 over `prefix + text` (UTF-8), as an integer.
 *
 * Every decision by bucket needs one. `node:crypto` spends more time on the way to OpenSSL and back than the hash of a
 * short text takes; so that is computed here, in half the time. What is longer than a block, or not ASCII, goes there.
 */
export function sha256First48(prefix: string, text: string): number {
  const length = prefix.length + text.length;
  if (length > MAX_BYTES) return byNode(prefix, text);
  if (prefix !== held) {
    isHeldAscii = write(prefix, 0);
    held = prefix;
  }
  if (!write(text, prefix.length) || !isHeldAscii) return byNode(prefix, text);
  pad(length);
  return compress();
}

function byNode(prefix: string, text: string): number {
  return Number.parseInt(hash('sha256', prefix + text, 'hex').slice(0, 12), 16);
}

/** A byte for each character; false: the text is not ASCII. */
function write(text: string, from: number): boolean {
  let seen = 0;
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    seen |= unit;
    BYTES[(from + i) ^ SWAP] = unit;
  }
  return seen < 0x80;
}

/** Behind the message: a 1, zeros up to the last word, and there its length in bits. */
function pad(length: number): void {
  let at = length;
  BYTES[at ^ SWAP] = 0x80;
  for (at += 1; at % 4 !== 0; at += 1) BYTES[at ^ SWAP] = 0;
  for (at /= 4; at < 15; at += 1) W[at] = 0;
  W[15] = length * 8;
}

/** Eight rounds are written out, with their variables in turn: to move eight of them takes a third of the time. */
function compress(): number {
  for (let i = 16; i < 64; i += 1) {
    const x = W[i - 15] as number;
    const y = W[i - 2] as number;
    const small0 = rotr(x, 7) ^ rotr(x, 18) ^ (x >>> 3);
    const small1 = rotr(y, 17) ^ rotr(y, 19) ^ (y >>> 10);
    W[i] = ((W[i - 16] as number) + small0 + (W[i - 7] as number) + small1) | 0;
  }
  let a = 0x6a09e667;
  let b = 0xbb67ae85 | 0;
  let c = 0x3c6ef372;
  let d = 0xa54ff53a | 0;
  let e = 0x510e527f;
  let f = 0x9b05688c | 0;
  let g = 0x1f83d9ab;
  let h = 0x5be0cd19;
  let t = 0;
  // prettier-ignore
  for (let i = 0; i < 64; i += 8) {
    t = (h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + (g ^ (e & (f ^ g))) + (K[i] as number) + (W[i] as number)) | 0;
    d = (d + t) | 0;
    h = (t + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) | (c & (a | b)))) | 0;
    t = (g + (rotr(d, 6) ^ rotr(d, 11) ^ rotr(d, 25)) + (f ^ (d & (e ^ f))) + (K[i + 1] as number) + (W[i + 1] as number)) | 0;
    c = (c + t) | 0;
    g = (t + (rotr(h, 2) ^ rotr(h, 13) ^ rotr(h, 22)) + ((h & a) | (b & (h | a)))) | 0;
    t = (f + (rotr(c, 6) ^ rotr(c, 11) ^ rotr(c, 25)) + (e ^ (c & (d ^ e))) + (K[i + 2] as number) + (W[i + 2] as number)) | 0;
    b = (b + t) | 0;
    f = (t + (rotr(g, 2) ^ rotr(g, 13) ^ rotr(g, 22)) + ((g & h) | (a & (g | h)))) | 0;
    t = (e + (rotr(b, 6) ^ rotr(b, 11) ^ rotr(b, 25)) + (d ^ (b & (c ^ d))) + (K[i + 3] as number) + (W[i + 3] as number)) | 0;
    a = (a + t) | 0;
    e = (t + (rotr(f, 2) ^ rotr(f, 13) ^ rotr(f, 22)) + ((f & g) | (h & (f | g)))) | 0;
    t = (d + (rotr(a, 6) ^ rotr(a, 11) ^ rotr(a, 25)) + (c ^ (a & (b ^ c))) + (K[i + 4] as number) + (W[i + 4] as number)) | 0;
    h = (h + t) | 0;
    d = (t + (rotr(e, 2) ^ rotr(e, 13) ^ rotr(e, 22)) + ((e & f) | (g & (e | f)))) | 0;
    t = (c + (rotr(h, 6) ^ rotr(h, 11) ^ rotr(h, 25)) + (b ^ (h & (a ^ b))) + (K[i + 5] as number) + (W[i + 5] as number)) | 0;
    g = (g + t) | 0;
    c = (t + (rotr(d, 2) ^ rotr(d, 13) ^ rotr(d, 22)) + ((d & e) | (f & (d | e)))) | 0;
    t = (b + (rotr(g, 6) ^ rotr(g, 11) ^ rotr(g, 25)) + (a ^ (g & (h ^ a))) + (K[i + 6] as number) + (W[i + 6] as number)) | 0;
    f = (f + t) | 0;
    b = (t + (rotr(c, 2) ^ rotr(c, 13) ^ rotr(c, 22)) + ((c & d) | (e & (c | d)))) | 0;
    t = (a + (rotr(f, 6) ^ rotr(f, 11) ^ rotr(f, 25)) + (h ^ (f & (g ^ h))) + (K[i + 7] as number) + (W[i + 7] as number)) | 0;
    e = (e + t) | 0;
    a = (t + (rotr(b, 2) ^ rotr(b, 13) ^ rotr(b, 22)) + ((b & c) | (d & (b | c)))) | 0;
  }
  return ((a + 0x6a09e667) >>> 0) * 2 ** 16 + ((b + 0xbb67ae85) >>> 16);
}

function rotr(x: number, by: number): number {
  return (x >>> by) | (x << (32 - by));
}
