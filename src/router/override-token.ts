import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Cohort } from './protocol';

/** What a signed override says. */
export interface OverrideClaims {
  /** The cohort the request is to reach. */
  readonly cohort: Cohort;
  /** The last moment of validity: a Date, or milliseconds since 1970. */
  readonly expires: Date | number;
  /** Valid only for the canary declared with this salt; without it, for any. */
  readonly salt?: string;
  /** Valid only for the router of this service; without it, for any that knows the secret. */
  readonly service?: string;
}

/** What a token is checked against. */
export interface OverrideContext {
  readonly nowMs: number;
  readonly salt: string | null;
  readonly service: string | null;
}

const PREFIX = 'v1';
/** Far more than a real token has; anything longer is refused before it costs a digest. */
const MAX_TOKEN_LENGTH = 1024;
/** Keeps the signature useless for anything else the same secret may sign. */
const DOMAIN = 'sluice-override';

/**
 * Signs an override for the header `X-Canary-Override`: `v1.<claims>.<HMAC-SHA256>`, both base64url.
 *
 * Throws a RangeError when the secret is empty or `expires` is not a time.
 */
export function signOverride(secret: string, claims: OverrideClaims): string {
  if (secret === '') throw new RangeError('an override cannot be signed with an empty secret');
  const exp = Math.floor(claims.expires instanceof Date ? claims.expires.getTime() : claims.expires);
  if (!Number.isSafeInteger(exp)) throw new RangeError('an override needs a valid time of expiry');
  const payload = Buffer.from(
    JSON.stringify({ cohort: claims.cohort, exp, salt: claims.salt, service: claims.service }),
  ).toString('base64url');
  return `${PREFIX}.${payload}.${signatureOf(secret, payload).toString('base64url')}`;
}

/** The cohort a token names, or null when it is forged, malformed, expired or meant for another release or service. */
export function verifyOverride(secret: string, token: string, context: OverrideContext): Cohort | null {
  if (secret === '' || token.length > MAX_TOKEN_LENGTH) return null;
  const [prefix, payload, signature, ...rest] = token.split('.');
  if (prefix !== PREFIX || payload === undefined || signature === undefined || rest.length > 0) return null;
  const given = Buffer.from(signature, 'base64url');
  const expected = signatureOf(secret, payload);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
  const claims = parseClaims(payload);
  if (claims === null || claims.exp < context.nowMs) return null;
  if (claims.salt !== undefined && claims.salt !== context.salt) return null;
  if (claims.service !== undefined && claims.service !== context.service) return null;
  return claims.cohort;
}

function signatureOf(secret: string, payload: string): Buffer {
  return createHmac('sha256', secret).update(`${DOMAIN}:${PREFIX}.${payload}`).digest();
}

interface Claims {
  readonly cohort: Cohort;
  readonly exp: number;
  readonly salt: unknown;
  readonly service: unknown;
}

function parseClaims(payload: string): Claims | null {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  } catch {
    return null; // Signed, but not by signOverride: treated like any other invalid token.
  }
  if (typeof value !== 'object' || value === null) return null;
  const { cohort, exp, salt, service } = value as Record<string, unknown>;
  if (cohort !== 'stable' && cohort !== 'canary') return null;
  if (typeof exp !== 'number') return null;
  return { cohort, exp, salt, service };
}
