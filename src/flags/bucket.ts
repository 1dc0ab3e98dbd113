import { sha256First48 } from '../sha256';

/** The other 16 of 48 bits. */
const BELOW_32_BITS = 2 ** 16;

/**
 * The bucket of a user for a flag, 0 to 99: the first 8 hex digits of SHA-256 of `flag:user` (UTF-8) as an integer,
 * modulo 100. A user is in while the bucket is below the percentage; the bucket does not depend on the percentage, so
 * raising it never takes a user out.
 */
export function flagBucket(flag: string, user: string): number {
  return bucketAfter(bucketPrefix(flag), user);
}

/** What is hashed before the user: made once for a flag. */
export function bucketPrefix(flag: string): string {
  return `${flag}:`;
}

/** The same bucket, for who has the prefix at hand. */
export function bucketAfter(prefix: string, user: string): number {
  // 32 bits, whose bias modulo 100 is 2e-8.
  return ((sha256First48(prefix, user) / BELOW_32_BITS) >>> 0) % 100;
}
