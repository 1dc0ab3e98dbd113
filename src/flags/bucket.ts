import { hash } from 'node:crypto';

/** Hex digits of the hash that make the number: 32 bits, whose bias modulo 100 is 2e-8. */
const DIGITS = 8;

/**
 * The bucket of a user for a flag, 0 to 99: the first 8 hex digits of SHA-256 of `flag:user` (UTF-8) as an integer,
 * modulo 100. A user is in while the bucket is below the percentage; the bucket does not depend on the percentage, so
 * raising it never takes a user out.
 */
export function flagBucket(flag: string, user: string): number {
  return Number.parseInt(hash('sha256', `${flag}:${user}`, 'hex').slice(0, DIGITS), 16) % 100;
}
