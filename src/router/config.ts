import type { AnonymousIdOptions } from './anonymous-id';
import type { TrustProxy } from './client-address';
import { namedNetworks, parseNetwork } from './client-address';
import { RouterDefaults } from './defaults';
import type { GuardThresholds } from './guard';
import type { Effective, Origin } from './protocol';

/** The guard as an app configures it; `false` in place of the whole switches every rule off. */
export interface GuardOptions {
  /** Canary requests before any rule speaks; an integer from 1, default 100. */
  readonly minRequests?: number;
  /** Canary error rate above which it trips, 0 to 1, default 0.01 (1 %); false: off. */
  readonly maxErrorRate?: number | false;
  /** 95th percentile above which it trips, milliseconds, default 2000; false: off. */
  readonly maxLatencyMs?: number | false;
  /** Multiple of the stable error rate above which it trips, from 1, default 2; false: off. */
  readonly maxErrorRatio?: number | false;
  /** Canary errors the ratio rule needs; an integer from 1, default 10. */
  readonly minErrors?: number;
  /** Span of the counts, 1 to 300 seconds, default 300. */
  readonly windowSeconds?: number;
}

/** The part of the router's options that environment variables may overrule. */
export interface ConfigurableOptions {
  /** False sends everyone to stable and refuses releases. Default true. (`CANARY_ENABLED`) */
  readonly enabled?: boolean;
  /** The version that everyone gets who is not in the canary. Required here or as `STABLE_VERSION`. */
  readonly stableVersion?: string;
  /** A canary from the start; usually a release declares it later. (`CANARY_VERSION`) */
  readonly canaryVersion?: string;
  /** Percent of subjects for that canary, 0 to 100, default 0. (`CANARY_TRAFFIC_PERCENT`) */
  readonly weight?: number;
  /** Salt for that canary, default its version. (`CANARY_SALT`) */
  readonly salt?: string;
  /** The versions this app can serve; a release of another one is refused. Default: any. */
  readonly versions?: readonly string[];
  /** Proxies whose `X-Forwarded-For` counts: how many, or their networks. Default none. (`CANARY_TRUST_PROXY`) */
  readonly trustProxy?: TrustProxy;
  /** Token of the endpoints that write. Without one they answer 403. (`CANARY_ADMIN_TOKEN`) */
  readonly adminToken?: string;
  /** Secret of signed overrides; default the admin token. (`CANARY_OVERRIDE_SECRET`) */
  readonly overrideSecret?: string;
  /** The guard in this process, or false for none. */
  readonly guard?: GuardOptions | false;
  /** The anonymous id cookie, or false for none. (`CANARY_COOKIE_SECURE` sets `secure`) */
  readonly anonymousId?: AnonymousIdOptions | false;
}

/** The configuration as it took effect, each value with its origin. */
export interface RouterConfig {
  readonly enabled: Effective<boolean>;
  readonly stableVersion: Effective<string>;
  readonly canaryVersion: Effective<string | null>;
  readonly weight: Effective<number>;
  readonly salt: Effective<string | null>;
  readonly versions: Effective<readonly string[] | null>;
  readonly trustProxy: Effective<TrustProxy>;
  readonly adminToken: Effective<string | null>;
  readonly overrideSecret: Effective<string | null>;
  readonly guard: { readonly [K in keyof GuardThresholds]: Effective<GuardThresholds[K]> };
  readonly anonymousId: Required<AnonymousIdOptions> | null;
  /** Variables named `CANARY_…` that mean nothing here: most likely typing errors. */
  readonly unknownVariables: readonly string[];
}

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** A configuration that cannot be used; `problems` holds one sentence for each thing wrong. */
export class RouterConfigError extends Error {
  override readonly name = 'RouterConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`cohort router: ${problems.join('; ')}`);
    this.problems = problems;
  }
}

/** Versions, salts and release ids end up in headers and labels: visible ASCII only. */
const VISIBLE = /^[\x21-\x7e]+$/;
const MAX_VERSION_LENGTH = 128;
const MAX_SALT_LENGTH = 200;
/** RFC 9110 field values: what a token or secret can be sent as. */
const COOKIE_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;

/** What a version may be. */
export const VERSION_RULE = `1 to ${MAX_VERSION_LENGTH} visible ASCII characters without spaces`;
/** What a salt or a release id may be. */
export const SALT_RULE = `1 to ${MAX_SALT_LENGTH} visible ASCII characters without spaces`;

/** Whether a value can be a version: {@link VERSION_RULE}. */
export function isVersion(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_VERSION_LENGTH && VISIBLE.test(value);
}

/** Whether a value can be a salt or a release id: {@link SALT_RULE}. */
export function isSalt(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_SALT_LENGTH && VISIBLE.test(value);
}

/** Whether a value is a weight: a number from 0 to 100. */
export function isWeight(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= 100;
}

/** A value's check and its description for people. */
interface Rule<T> {
  readonly allowed: string;
  readonly ok: (value: unknown) => value is T;
  /** Reads the text of an environment variable; undefined when it cannot be read. */
  readonly parse: (text: string) => T | undefined;
}

const rules = {
  flag: {
    allowed: 'true or false',
    ok: (value): value is boolean => typeof value === 'boolean',
    parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
  } satisfies Rule<boolean>,
  version: { allowed: VERSION_RULE, ok: isVersion, parse: (text) => text } satisfies Rule<string>,
  salt: { allowed: SALT_RULE, ok: isSalt, parse: (text) => text } satisfies Rule<string>,
  weight: {
    allowed: 'a number from 0 to 100 (percent)',
    ok: isWeight,
    parse: (text) => parseNumber(text.replace(/%$/, '')),
  } satisfies Rule<number>,
  versions: {
    allowed: `a list of at least one version, each ${VERSION_RULE}`,
    ok: (value): value is readonly string[] => Array.isArray(value) && value.length > 0 && value.every(isVersion),
    parse: splitList,
  } satisfies Rule<readonly string[]>,
  trustProxy: {
    allowed: `false, a number of proxies from 1 to 32, or networks (CIDR, ${namedNetworks.join(', ')})`,
    ok: isTrustProxy,
    parse: (text) => (text === 'false' ? false : /^\d+$/.test(text) ? Number(text) : splitList(text)),
  } satisfies Rule<TrustProxy>,
  secret: {
    allowed: 'a non-empty text of visible ASCII characters',
    ok: (value): value is string => typeof value === 'string' && VISIBLE.test(value),
    parse: (text) => text,
  } satisfies Rule<string>,
  count: {
    allowed: 'an integer from 1',
    ok: (value): value is number => Number.isSafeInteger(value) && (value as number) >= 1,
    parse: parseNumber,
  } satisfies Rule<number>,
  rate: {
    allowed: 'a rate from 0 to 1 such as 0.01, in a variable also a percentage such as 1%, or off',
    ok: (value): value is number | false => isOff(value) || (isFiniteNumber(value) && value >= 0 && value < 1),
    // A bare "1" might mean 1 % or 100 %: a rate of 1 or more is refused, a percentage says what it is.
    parse: (text) => parseOff(text) ?? parseRate(text),
  } satisfies Rule<number | false>,
  latency: {
    allowed: 'milliseconds above 0, or off',
    ok: (value): value is number | false => isOff(value) || (isFiniteNumber(value) && value > 0),
    parse: (text) => parseOff(text) ?? parseNumber(text),
  } satisfies Rule<number | false>,
  ratio: {
    allowed: 'a factor from 1 such as 2, or off',
    ok: (value): value is number | false => isOff(value) || (isFiniteNumber(value) && value >= 1),
    parse: (text) => parseOff(text) ?? parseNumber(text),
  } satisfies Rule<number | false>,
  window: {
    allowed: `an integer from 1 to ${RouterDefaults.windowSeconds} (seconds)`,
    ok: (value): value is number =>
      Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= RouterDefaults.windowSeconds,
    parse: parseNumber,
  } satisfies Rule<number>,
  days: {
    allowed: 'days from 1 to 400',
    ok: (value): value is number => isFiniteNumber(value) && value >= 1 && value <= 400,
    parse: parseNumber,
  } satisfies Rule<number>,
  cookieName: {
    allowed: 'a cookie name of 1 to 64 characters',
    ok: (value): value is string => typeof value === 'string' && COOKIE_NAME.test(value),
    parse: (text) => text,
  } satisfies Rule<string>,
};

/** The environment variables the router reads. */
export const routerVariables = [
  'CANARY_ENABLED',
  'CANARY_TRAFFIC_PERCENT',
  'CANARY_VERSION',
  'STABLE_VERSION',
  'CANARY_SALT',
  'CANARY_VERSIONS',
  'CANARY_TRUST_PROXY',
  'CANARY_ADMIN_TOKEN',
  'CANARY_OVERRIDE_SECRET',
  'CANARY_COOKIE_SECURE',
  'CANARY_MIN_REQUESTS',
  'CANARY_ERROR_RATE_THRESHOLD',
  'CANARY_LATENCY_THRESHOLD_MS',
  'CANARY_ERROR_RATIO_THRESHOLD',
  'CANARY_MIN_ERRORS',
  'CANARY_GUARD_WINDOW_SECONDS',
] as const;

type RouterVariable = (typeof routerVariables)[number];

/**
 * Works out the configuration: a default is overruled by code, code by the environment, so that an operator can
 * change a deployed app without a build. What is set at run time overrules all three.
 *
 * Throws {@link RouterConfigError} with everything wrong at once, each naming the option or variable.
 */
export function resolveConfig(options: ConfigurableOptions, environment: Environment): RouterConfig {
  const problems: string[] = [];

  function pick<T, D>(
    rule: Rule<T>,
    option: [name: string, value: unknown],
    variable: RouterVariable | null,
    byDefault: D,
  ) {
    const fromEnvironment = variable === null ? undefined : readVariable(rule, variable);
    const fromCode = readOption(rule, option);
    if (fromEnvironment !== undefined) return effective<T | D>(fromEnvironment, 'environment');
    if (fromCode !== undefined) return effective<T | D>(fromCode, 'code');
    return effective<T | D>(byDefault, 'default');
  }

  function readVariable<T>(rule: Rule<T>, name: RouterVariable): T | undefined {
    const text = environment[name]?.trim();
    // Set but empty is how shells and compose files say "not set".
    if (text === undefined || text === '') return undefined;
    const value = rule.parse(text);
    if (value !== undefined && rule.ok(value)) return value;
    problems.push(`${name} is ${shown(rule, text)}; allowed: ${rule.allowed}`);
    return undefined;
  }

  function readOption<T>(rule: Rule<T>, [name, value]: [string, unknown]): T | undefined {
    if (value === undefined) return undefined;
    if (rule.ok(value)) return value;
    problems.push(`option ${name} is ${shown(rule, value)}; allowed: ${rule.allowed}`);
    return undefined;
  }

  const guard: GuardOptions = options.guard === false ? allRulesOff : (options.guard ?? {});
  const adminToken = pick(rules.secret, ['adminToken', options.adminToken], 'CANARY_ADMIN_TOKEN', null);
  const canaryVersion = pick(rules.version, ['canaryVersion', options.canaryVersion], 'CANARY_VERSION', null);
  const stableVersion = pick(rules.version, ['stableVersion', options.stableVersion], 'STABLE_VERSION', null);
  const weight = pick(rules.weight, ['weight', options.weight], 'CANARY_TRAFFIC_PERCENT', 0);
  const versions = pick(rules.versions, ['versions', options.versions], 'CANARY_VERSIONS', null);
  const { guard: defaults } = RouterDefaults;
  const config = {
    enabled: pick(rules.flag, ['enabled', options.enabled], 'CANARY_ENABLED', true),
    stableVersion: { value: stableVersion.value ?? '', origin: stableVersion.origin },
    canaryVersion,
    weight,
    // Every instance must use the same salt, so the default is something they agree on without talking.
    salt: pick(rules.salt, ['salt', options.salt], 'CANARY_SALT', canaryVersion.value),
    versions,
    trustProxy: pick<TrustProxy, TrustProxy>(
      rules.trustProxy,
      ['trustProxy', options.trustProxy],
      'CANARY_TRUST_PROXY',
      false,
    ),
    adminToken,
    overrideSecret: pick(
      rules.secret,
      ['overrideSecret', options.overrideSecret],
      'CANARY_OVERRIDE_SECRET',
      adminToken.value,
    ),
    guard: {
      minRequests: pick(
        rules.count,
        ['guard.minRequests', guard.minRequests],
        'CANARY_MIN_REQUESTS',
        defaults.minRequests,
      ),
      maxErrorRate: pick(
        rules.rate,
        ['guard.maxErrorRate', guard.maxErrorRate],
        'CANARY_ERROR_RATE_THRESHOLD',
        defaults.maxErrorRate,
      ),
      maxLatencyMs: pick(
        rules.latency,
        ['guard.maxLatencyMs', guard.maxLatencyMs],
        'CANARY_LATENCY_THRESHOLD_MS',
        defaults.maxLatencyMs,
      ),
      maxErrorRatio: pick(
        rules.ratio,
        ['guard.maxErrorRatio', guard.maxErrorRatio],
        'CANARY_ERROR_RATIO_THRESHOLD',
        defaults.maxErrorRatio,
      ),
      minErrors: pick(rules.count, ['guard.minErrors', guard.minErrors], 'CANARY_MIN_ERRORS', defaults.minErrors),
      windowSeconds: pick(
        rules.window,
        ['guard.windowSeconds', guard.windowSeconds],
        'CANARY_GUARD_WINDOW_SECONDS',
        RouterDefaults.windowSeconds,
      ),
    },
    anonymousId: resolveAnonymousId(),
    unknownVariables: Object.keys(environment).filter(
      (name) => name.startsWith('CANARY_') && !(routerVariables as readonly string[]).includes(name),
    ),
  } satisfies RouterConfig;

  if (problems.length === 0 && stableVersion.value === null) {
    problems.push('the stable version is not known; pass the option stableVersion or set STABLE_VERSION');
  }
  if (weight.value > 0 && canaryVersion.value === null && problems.length === 0) {
    const name = weight.origin === 'environment' ? 'CANARY_TRAFFIC_PERCENT' : 'option weight';
    problems.push(`${name} is ${weight.value}, but no canary is set; set CANARY_VERSION or the option canaryVersion`);
  }
  for (const [name, { value }] of Object.entries({ stableVersion, canaryVersion })) {
    if (value !== null && versions.value !== null && !versions.value.includes(value)) {
      problems.push(`${name} is "${value}", which is not among the versions ${versions.value.join(', ')}`);
    }
  }
  if (problems.length > 0) throw new RouterConfigError(problems);
  return config;

  function resolveAnonymousId(): Required<AnonymousIdOptions> | null {
    const given = options.anonymousId ?? {};
    const fallback = given === false ? {} : given;
    const secure = pick(rules.flag, ['anonymousId.secure', fallback.secure], 'CANARY_COOKIE_SECURE', true).value;
    const name = pick(
      rules.cookieName,
      ['anonymousId.name', fallback.name],
      null,
      secure ? '__Host-sluice_id' : 'sluice_id',
    ).value;
    const maxAgeDays = pick(
      rules.days,
      ['anonymousId.maxAgeDays', fallback.maxAgeDays],
      null,
      RouterDefaults.anonymousIdDays,
    ).value;
    if (!secure && /^__(host|secure)-/i.test(name)) {
      problems.push(
        `option anonymousId.name is "${name}", which browsers accept only as a secure cookie; choose another name or secure: true`,
      );
    }
    return given === false ? null : { name, secure, maxAgeDays };
  }
}

const allRulesOff = { maxErrorRate: false, maxLatencyMs: false, maxErrorRatio: false } satisfies GuardOptions;

function effective<T>(value: T, origin: Origin): Effective<T> {
  return { value, origin };
}

/** A value as an error may show it: secrets never. */
function shown(rule: Rule<unknown>, value: unknown): string {
  if (rule === (rules.secret as Rule<unknown>)) return 'not usable';
  return (JSON.stringify(value) ?? String(value)).slice(0, 80);
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isOff(value: unknown): value is false {
  return value === false;
}

function isTrustProxy(value: unknown): value is TrustProxy {
  if (value === false) return true;
  if (typeof value === 'number') return Number.isInteger(value) && value >= 1 && value <= 32;
  if (!Array.isArray(value) || value.length === 0) return false;
  return value.every(
    (item) => typeof item === 'string' && (namedNetworks.includes(item) || parseNetwork(item) !== null),
  );
}

/** Decimal notation only: what `Number` takes besides (hex, exponents, spaces, the empty text) is refused. */
function parseNumber(text: string): number | undefined {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

function parseRate(text: string): number | undefined {
  const percent = text.endsWith('%');
  const value = parseNumber(percent ? text.slice(0, -1) : text);
  return value === undefined || !percent ? value : value / 100;
}

function parseOff(text: string): false | undefined {
  return text === 'off' ? false : undefined;
}

function splitList(text: string): readonly string[] {
  return text.split(',').map((item) => item.trim());
}
