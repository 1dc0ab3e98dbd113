import { createHmac, hash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import { ReleaseError } from '../errors';
import { FlagDefaults } from './defaults';
import type { FlagDocument } from './flag';
import { FlagProblem } from './problem';

/** What somebody may do, each with what stands before it. */
export const ROLES = ['read', 'report', 'write', 'admin'] as const;
export type Role = (typeof ROLES)[number];

/** A role in one environment, or in all (`*`): for flags. */
export interface Grant {
  readonly role: Role;
  readonly environment: string;
}

export const RELEASE_ROLES = ['read', 'write', 'admin'] as const;
export type ReleaseRole = (typeof RELEASE_ROLES)[number];

/**
 * A role in one namespace of releases, or in all (`*`). Apart from the grants for flags: the key that an application asks
 * its flags with is not to decide on releases.
 */
export interface ReleaseGrant {
  readonly role: ReleaseRole;
  readonly namespace: string;
}

/** Who asks. */
export interface Principal {
  /** For the audit. */
  readonly id: string;
  readonly grants: readonly Grant[];
  readonly releases: readonly ReleaseGrant[];
  /** For approvals that a group may give. */
  readonly groups: readonly string[];
}

const FLAG_GRANT = /^(read|report|write|admin):(\*|[a-zA-Z0-9][a-zA-Z0-9._-]{0,63})$/;
const RELEASE_GRANT = /^releases:(read|write|admin):(\*|[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)$/;
const GrantText = z.string().refine((text) => FLAG_GRANT.test(text) || RELEASE_GRANT.test(text), {
  message:
    'a grant is read, report, write or admin, ":" and an environment or *; for releases "releases:", then read, write or admin, ":" and a namespace or *',
});

/** A file of keys: not the keys, but their SHA-256, so that who reads the file has none. */
export const KeyFile = z.strictObject({
  keys: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(200),
        sha256: z.string().regex(/^[0-9a-f]{64}$/, 'the SHA-256 of the key, 64 hex digits in lower case'),
        grants: z.array(GrantText).min(1),
        /** Those an approval may name in place of the id. */
        groups: z.array(z.string().min(1).max(200)).max(50).default([]),
      }),
    )
    .min(1)
    .superRefine((keys, context) => {
      // Of two the latter would count, and who reads the file may go by the former.
      const firstOf = new Map<string, string>();
      for (const [index, { id, sha256 }] of keys.entries()) {
        const first = firstOf.get(sha256);
        if (first === undefined) firstOf.set(sha256, id);
        else
          context.addIssue({
            code: 'custom',
            path: [index, 'sha256'],
            message: `this is the key of ${first}, too; give each its own`,
          });
      }
    }),
});
export type KeyFile = z.input<typeof KeyFile>;

export interface JwtOptions {
  /** Where the issuer publishes its keys. */
  readonly jwksUrl: string;
  readonly issuer: string;
  readonly audience: string;
}

export interface AccessOptions {
  /** One key that may do everything everywhere (SLUICE_API_KEY). */
  readonly adminKey?: string;
  readonly keys?: KeyFile;
  readonly jwt?: JwtOptions;
}

const EVERYTHING: Omit<Principal, 'id'> = {
  grants: [{ role: 'admin', environment: '*' }],
  releases: [{ role: 'admin', namespace: '*' }],
  groups: [],
};
const ANYBODY: Principal = { id: 'anonymous', ...EVERYTHING };
/** Longer ones are not looked at. */
const MAX_TOKEN_LENGTH = 8192;
/** Tokens whose signature was checked lately, so that it is not checked for each of thousands of requests a second. */
const TOKENS_KEPT = 1_000;
/** A key short enough to be guessed is none. */
const MIN_KEY_LENGTH = 16;
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'];

interface VerifiedToken {
  readonly principal: Principal;
  readonly untilMs: number;
}

/** Says who asks, by API key or JWT. */
export class Access {
  /** Nobody needs a key: for loopback alone. */
  readonly open: boolean;
  readonly #principals = new Map<string, Principal>();
  readonly #jwt: JwtOptions | undefined;
  readonly #tokens = new Map<string, VerifiedToken>();
  readonly #streamSecret: Buffer;
  #verify: ((token: string) => Promise<VerifiedToken>) | null = null;

  constructor({ adminKey, keys, jwt }: AccessOptions) {
    if (adminKey !== undefined) {
      if (adminKey.length < MIN_KEY_LENGTH) {
        throw new ReleaseError('usage', `SLUICE_API_KEY has ${adminKey.length} characters, which can be guessed.`, {
          hint: `Give it at least ${MIN_KEY_LENGTH}, such as the output of: openssl rand -hex 32`,
        });
      }
      this.#principals.set(digestOf(adminKey), { id: 'SLUICE_API_KEY', ...EVERYTHING });
    }
    for (const { id, sha256, grants, groups = [] } of keys?.keys ?? []) {
      this.#principals.set(sha256, { id, ...parseGrants(grants), groups });
    }
    this.#jwt = jwt;
    this.open = this.#principals.size === 0 && jwt === undefined;
    // The same in every server with the same keys, so that a browser may come back to another one.
    const known = [...this.#principals.keys()].sort().join();
    this.#streamSecret =
      known === '' ? randomBytes(32) : Buffer.from(hash('sha256', `sluice-flags-stream:${known}`), 'hex');
  }

  /**
   * Who sent these headers.
   *
   * @throws FlagProblem when nobody is known by them.
   */
  identify(headers: IncomingHttpHeaders): Principal | Promise<Principal> {
    if (this.open) return ANYBODY;
    const token = bearerOf(headers.authorization) ?? headers['x-api-key'];
    if (typeof token !== 'string' || token === '') {
      throw new FlagProblem(
        'unauthenticated',
        'Send an API key as "Authorization: Bearer KEY" or as "X-API-Key: KEY".',
      );
    }
    if (token.length > MAX_TOKEN_LENGTH) throw unknownKey();
    // A map from digests: how long the look-up takes says nothing about a key.
    const digest = digestOf(token);
    const known = this.#principals.get(digest);
    if (known !== undefined) return known;
    if (this.#jwt === undefined || token.split('.').length !== 3) throw unknownKey();
    const verified = this.#tokens.get(digest);
    if (verified !== undefined && verified.untilMs > Date.now()) return verified.principal;
    return this.#identifyToken(token, digest, this.#jwt);
  }

  /** A link to the event stream of one environment: browsers cannot send headers there, so it says itself what it may. */
  streamToken(environment: string, nowMs: number): string {
    const content = Buffer.from(
      JSON.stringify([environment, Math.floor(nowMs / 1000) + FlagDefaults.streamTokenSeconds]),
    ).toString('base64url');
    return `${content}.${this.#sign(content).toString('base64url')}`;
  }

  /**
   * Another one when links that were given before should not be used any more: they were signed with other keys, or may
   * have passed half of their life. Nothing in a service without keys, where a link carries no token.
   */
  streamLinkVersion(nowMs: number): string {
    if (this.open) return '';
    const halfLives = Math.floor(nowMs / (FlagDefaults.streamTokenSeconds * 500));
    // Of the signature, so that what everybody reads in an ETag is none.
    return hash('sha256', this.#sign(`link:${halfLives}`)).slice(0, 16);
  }

  /** Whether such a link is ours and not too old. */
  acceptsStreamToken(token: string, nowMs: number): boolean {
    const [content = '', signature = ''] = token.split('.');
    const given = Buffer.from(signature, 'base64url');
    const expected = this.#sign(content);
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return false;
    const parsed: unknown = JSON.parse(Buffer.from(content, 'base64url').toString());
    return Array.isArray(parsed) && typeof parsed[1] === 'number' && parsed[1] * 1000 > nowMs;
  }

  #sign(content: string): Buffer {
    return createHmac('sha256', this.#streamSecret).update(content).digest();
  }

  async #identifyToken(token: string, digest: string, jwt: JwtOptions): Promise<Principal> {
    this.#verify ??= await jwtVerifier(jwt);
    const verified = await this.#verify(token);
    if (this.#tokens.size >= TOKENS_KEPT) this.#tokens.clear();
    this.#tokens.set(digest, verified);
    return verified.principal;
  }
}

/** Whether a principal may do so in an environment. */
export function may(principal: Principal, role: Role, environment: string): boolean {
  for (const grant of principal.grants) {
    const there = grant.environment === '*' || grant.environment === environment;
    if (there && includes(grant.role, role)) return true;
  }
  return false;
}

/** Whether there is any environment, or any namespace, in which a principal may do so. */
export function mayAnywhere({ grants, releases }: Principal, role: Role, what: 'flags' | 'releases'): boolean {
  return (what === 'flags' ? grants : releases).some((grant) => includes(grant.role, role));
}

/** Whether a principal may do so with the releases of a namespace. */
export function mayRelease({ releases }: Principal, role: ReleaseRole, namespace: string): boolean {
  return releases.some(
    (grant) => (grant.namespace === '*' || grant.namespace === namespace) && includes(grant.role, role),
  );
}

function includes(granted: Role, role: Role): boolean {
  return ROLES.indexOf(granted) >= ROLES.indexOf(role);
}

/** Refuses what a principal may not do with a flag: it counts in all its environments, so all of them have to be granted. */
export function requireFlagRole(
  principal: Principal,
  role: Role,
  flag: Pick<FlagDocument, 'name' | 'environments'>,
): void {
  const environments = flag.environments.length === 0 ? ['*'] : flag.environments;
  const missing = environments.find((environment) => !may(principal, role, environment));
  if (missing === undefined) return;
  const where = missing === '*' ? 'in all environments, where it counts' : `in ${missing}`;
  throw new FlagProblem('forbidden', `${principal.id} may not ${role} ${flag.name} ${where}.`);
}

/** Whether a flag may be seen: by whoever reads any environment in which it counts, which is all when none is named. */
export function maySee(principal: Principal, { environments }: CountingFlag): boolean {
  let named = false;
  for (const environment of environments ?? []) {
    if (may(principal, 'read', environment)) return true;
    named = true;
  }
  return !named && principal.grants.length > 0;
}

/** The same for all who may see the same flags, and for nobody else; short. */
export function viewOf({ grants }: Principal): string {
  const environments = [...new Set(grants.map(({ environment }) => environment))].sort();
  return hash('sha256', JSON.stringify(environments.includes('*') ? ['*'] : environments)).slice(0, 8);
}

/** Whether there is no flag that a principal may not see. */
export function seesEverything({ grants }: Principal): boolean {
  return grants.some(({ environment }) => environment === '*');
}

/** As a store keeps it, or made ready for questions. */
interface CountingFlag {
  readonly environments: readonly string[] | ReadonlySet<string> | null;
}

/** Refuses a flag that may not be seen. */
export function requireSight(principal: Principal, flag: CountingFlag & { readonly name: string }): void {
  if (maySee(principal, flag)) return;
  throw new FlagProblem('forbidden', `${principal.id} may not read ${flag.name} in any of its environments.`);
}

/** Refuses who may read no flags at all, such as a key for releases alone. */
export function requireFlagReader(principal: Principal): void {
  if (mayAnywhere(principal, 'read', 'flags')) return;
  throw new FlagProblem('forbidden', `${principal.id} may not read flags anywhere.`);
}

/** The environment of a question that names none: the only one of the key, else the server's. */
export function environmentOf(principal: Principal, named: string | undefined, byDefault: string): string {
  const environment = named ?? onlyEnvironment(principal) ?? byDefault;
  if (may(principal, 'read', environment)) return environment;
  throw new FlagProblem('forbidden', `${principal.id} may not read flags in ${environment}.`);
}

/** The one that all its grants are for; null: they are for several, or for all. */
function onlyEnvironment({ grants }: Principal): string | null {
  const only = grants[0]?.environment ?? '*';
  return only !== '*' && grants.every(({ environment }) => environment === only) ? only : null;
}

/** Those of either kind; each text is one of a grant. */
function parseGrants(texts: readonly string[]): Pick<Principal, 'grants' | 'releases'> {
  const grants: Grant[] = [];
  const releases: ReleaseGrant[] = [];
  for (const text of texts) {
    const [first = '', second = '', third] = text.split(':');
    if (third !== undefined) releases.push({ role: roleOf(RELEASE_ROLES, second), namespace: third });
    else grants.push({ role: roleOf(ROLES, first), environment: second });
  }
  return { grants, releases };
}

function roleOf<R extends string>(roles: readonly R[], text: string): R {
  const role = roles.find((one) => one === text);
  if (role === undefined) throw new Error(`no role is called ${text}`);
  return role;
}

/** The grants of a token's scope: `flags:write:production`, `releases:write:shop`; what else it says is for others. */
function grantsOfScope(scope: string): readonly string[] {
  return scope.split(' ').flatMap((word) => {
    if (RELEASE_GRANT.test(word)) return [word];
    const ofFlags = word.startsWith('flags:') ? word.slice('flags:'.length) : '';
    return FLAG_GRANT.test(ofFlags) ? [ofFlags] : [];
  });
}

function bearerOf(header: string | undefined): string | undefined {
  return header !== undefined && /^bearer /i.test(header) ? header.slice('bearer '.length).trim() : undefined;
}

function digestOf(key: string): string {
  return hash('sha256', key);
}

function unknownKey(): FlagProblem {
  return new FlagProblem('unauthenticated', 'The API key or token is not known, or it has expired.');
}

/** The issuer did not answer, or not with keys. */
const ISSUER_FAULTS = new Set(['ERR_JWKS_TIMEOUT', 'ERR_JOSE_GENERIC', 'ERR_JWKS_INVALID']);

const Claims = z.object({
  sub: z.string().min(1),
  exp: z.number(),
  scope: z.string(),
  /** Not every issuer writes them as a list; then the token names none. */
  groups: z.array(z.string()).catch([]),
});

/** Checks tokens of one issuer. Its library is loaded with the first of them. */
async function jwtVerifier({
  jwksUrl,
  issuer,
  audience,
}: JwtOptions): Promise<(token: string) => Promise<VerifiedToken>> {
  const jose = await import('jose');
  const keys = jose.createRemoteJWKSet(new URL(jwksUrl));
  return async (token) => {
    try {
      const { payload } = await jose.jwtVerify(token, keys, { issuer, audience, algorithms: ALGORITHMS });
      const claims = Claims.parse(payload);
      const { sub: id, groups } = claims;
      return {
        principal: { id, ...parseGrants(grantsOfScope(claims.scope)), groups },
        untilMs: claims.exp * 1000,
      };
    } catch (error) {
      // Of the token itself; anything else is the issuer's fault, or the network's, and may be tried again.
      const ofToken = error instanceof jose.errors.JOSEError && !ISSUER_FAULTS.has(error.code);
      if (ofToken || error instanceof z.ZodError) throw unknownKey();
      throw new FlagProblem('issuer-unavailable', "The token's issuer does not answer, so it cannot be checked.");
    }
  };
}
