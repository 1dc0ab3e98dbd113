import { hash } from 'node:crypto';
import { environmentOf, maySee } from '../access';
import type { Access, Principal } from '../access';
import type { FlagChecks } from '../checks';
import { FlagDefaults } from '../defaults';
import { evaluateFlag } from '../evaluate';
import type { CompiledFlag, Evaluation } from '../evaluate';
import { EnvironmentName, isUserId } from '../flag';
import { FlagProblem } from '../problem';
import type { Problem } from '../problem';
import type { StoreHead } from '../store';
import type { Answer } from './endpoint';
import { matches } from './http';

/** Paths of the OpenFeature Remote Evaluation Protocol, version 0.3. */
export const OFREP = {
  single: '/ofrep/v1/evaluate/flags/{key}',
  bulk: '/ofrep/v1/evaluate/flags',
  stream: '/ofrep/v1/sse',
} as const;

/**
 * What a switched off flag is answered with: its default variant, which every SDK understands, or, as the protocol also
 * allows, no value, for SDKs that then take the default in the code.
 */
export type DisabledBehavior = 'off' | 'code-default';

export interface OfrepParts {
  readonly checks: FlagChecks;
  readonly access: Access;
  readonly environment: string;
  readonly disabledBehavior: DisabledBehavior;
  readonly now: () => number;
}

/** The codes of the protocol, each with its status. */
const FAILURES = {
  PARSE_ERROR: 400,
  INVALID_CONTEXT: 400,
  TARGETING_KEY_MISSING: 400,
  FLAG_NOT_FOUND: 404,
  GENERAL: 500,
} as const;
type FailureCode = keyof typeof FAILURES;

/** Why an evaluation came to nothing. */
class OfrepFailure extends Error {
  readonly code: FailureCode;
  constructor(code: FailureCode, message: string) {
    super(message);
    this.code = code;
  }
}

interface Context {
  readonly userId: string | null;
  readonly environment: string;
  /** The whole of it, for the ETag. */
  readonly whole: Readonly<Record<string, unknown>>;
}

/** One flag for a server's SDK, which asks for each evaluation. */
export function evaluateOne(parts: OfrepParts, principal: Principal, asked: { key: string; body: unknown }): Answer {
  const { key } = asked;
  try {
    const { userId, environment } = contextOf(parts, principal, asked.body);
    const known = parts.checks.ruleset.flag(key);
    // The same as one that is not there: the protocol has no word for it, and that there is such a flag is not to be learnt.
    if (known !== undefined && !maySee(principal, known)) throw noSuchFlag(key);
    const checked = parts.checks.check(key, { userId, environment });
    switch (checked.kind) {
      case 'answered':
        return { status: 200, body: success(parts, checked.flag, { evaluation: checked.evaluation, environment }) };
      case 'unknown':
        throw noSuchFlag(key);
      case 'user-missing':
        throw new OfrepFailure('TARGETING_KEY_MISSING', missingKey(key));
      case 'unavailable':
        // No type is known, so no value can be given that fits: the SDK takes the default in the code.
        return {
          status: 503,
          body: { key, errorCode: 'GENERAL', errorDetails: 'No flags were loaded yet; the store does not answer.' },
        };
      default:
        return checked satisfies never;
    }
  } catch (error) {
    return failure(error, key);
  }
}

/**
 * Looks for what another server has told an SDK of: the flags it was told to ask for (`flagConfigEtag`) are others than
 * this server knows, and an answer from memory would say that nothing has changed, with nobody to tell it again.
 */
export async function catchUpWith({ checks }: Pick<OfrepParts, 'checks'>, toldOf: unknown): Promise<void> {
  if (typeof toldOf !== 'string' || matches(toldOf, versionETag(rulesetVersion({ checks })))) return;
  await checks.ruleset.refresh();
}

/** What change events call a version of the flags. */
export function versionETag(version: string): string {
  return `"${version}"`;
}

/** All flags for a browser's SDK, which asks once and keeps the answer. Not counted: nobody has looked at them yet. */
export function evaluateAll(
  parts: OfrepParts,
  principal: Principal,
  asked: { body: unknown; ifNoneMatch: string | undefined },
): Answer {
  try {
    const context = contextOf(parts, principal, asked.body);
    const { ruleset } = parts.checks;
    if (ruleset.state === 'empty') {
      ruleset.noteFallback('(all)');
      return {
        status: 503,
        body: { errorCode: 'GENERAL', errorDetails: 'No flags were loaded yet; the store does not answer.' },
      };
    }
    // Of the context, too: an SDK sends the old ETag with a new context, and would be told that nothing changed. And of what
    // the key may see, and of the link in the answer: an SDK that is told that nothing changed goes on with the one it has.
    const link = parts.access.streamLinkVersion(parts.now());
    const asker = canonical([context.environment, context.whole, principal.grants, link]);
    const etag = `"${rulesetVersion(parts)}-${hash('sha256', asker).slice(0, 16)}"`;
    const headers = { etag, 'cache-control': 'no-cache' };
    if (asked.ifNoneMatch !== undefined && matches(asked.ifNoneMatch, etag)) {
      return { status: 304, headers, body: null };
    }
    return {
      status: 200,
      headers,
      body: {
        flags: ruleset
          .flags()
          .filter((flag) => maySee(principal, flag))
          .map((flag) => {
            const evaluation = evaluateFlag(flag, context);
            return evaluation.rule === 'user-missing'
              ? { key: flag.name, errorCode: 'TARGETING_KEY_MISSING', errorDetails: missingKey(flag.name) }
              : success(parts, flag, { evaluation, environment: context.environment });
          }),
        metadata: { version: rulesetVersion(parts), flagSetId: context.environment },
        eventStreams: [
          {
            type: 'sse',
            endpoint: { requestUri: streamUri(parts, context.environment) },
            inactivityDelaySec: FlagDefaults.streamInactivitySeconds,
          },
        ],
      },
    };
  } catch (error) {
    return failure(error, null);
  }
}

/** A refusal in the protocol's words: an SDK that looks for a key and details does not stumble over their absence. */
export function ofrepProblem(problem: Problem, key: string | null): Answer {
  const code: FailureCode =
    problem.code === 'not-json' || problem.code === 'not-json-type' || problem.code === 'body-too-large'
      ? 'PARSE_ERROR'
      : // It names what is wrong within the body, and that is the context.
        problem.code === 'invalid-request' && problem.extra['errors'] !== undefined
        ? 'INVALID_CONTEXT'
        : problem.code === 'no-such-endpoint' && key !== null
          ? 'FLAG_NOT_FOUND'
          : 'GENERAL';
  // The protocol has one status for a body that cannot be read.
  const status = code === 'PARSE_ERROR' ? 400 : problem.status;
  return {
    status,
    body: { ...(key === null ? {} : { key }), errorCode: code, errorDetails: problem.message },
  };
}

/** The key in a path of the protocol, also when it has a `/` in it and is none; null where there is none. */
export function keyOfPath(path: string): string | null {
  const before = `${OFREP.bulk}/`;
  const key = path.startsWith(before) ? path.slice(before.length) : '';
  if (key === '') return null;
  try {
    return decodeURIComponent(key);
  } catch {
    // As it stands there: it cannot be read otherwise, which is what the answer is about.
    return key;
  }
}

/** The ruleset's own version, for people and for change events. */
export function rulesetVersion({ checks }: Pick<OfrepParts, 'checks'>): string {
  const { head } = checks.ruleset;
  if (head === null) return '0';
  let version = versions.get(head);
  if (version === undefined) {
    version = `${head.incarnation.slice(0, 8)}-${head.revision}`;
    versions.set(head, version);
  }
  return version;
}

/** Of each head once: every answer has it. */
const versions = new WeakMap<StoreHead, string>();

function success(
  parts: OfrepParts,
  flag: CompiledFlag,
  { evaluation, environment }: { evaluation: Evaluation; environment: string },
): Record<string, unknown> {
  const { value, reason, variant, rule, bucket } = evaluation;
  const metadata: Record<string, unknown> = { rule, version: rulesetVersion(parts), flagSetId: environment };
  if (bucket !== null) metadata['bucket'] = bucket;
  if (rule === 'percentage' && flag.percentage !== null) metadata['percentage'] = flag.percentage;
  const codeDefault = reason === 'DISABLED' && parts.disabledBehavior === 'code-default';
  if (codeDefault) return { key: flag.name, reason, variant, metadata };
  return { key: flag.name, value, reason, variant, metadata };
}

function contextOf(parts: OfrepParts, principal: Principal, body: unknown): Context {
  const given: unknown = isObject(body) ? (body['context'] ?? {}) : undefined;
  if (body !== undefined && !isObject(body)) {
    throw new OfrepFailure('PARSE_ERROR', 'The body is an object: {"context": {"targetingKey": "…"}}.');
  }
  const whole = given ?? {};
  if (!isObject(whole)) throw new OfrepFailure('INVALID_CONTEXT', 'The context is an object.');
  const { targetingKey, environment } = whole;
  // An SDK without a user sends none, or an empty one.
  const userId = targetingKey === undefined || targetingKey === null || targetingKey === '' ? null : targetingKey;
  if (userId !== null && !isUserId(userId)) {
    throw new OfrepFailure(
      'INVALID_CONTEXT',
      `The targetingKey is a text of at most ${FlagDefaults.maxUserIdLength} characters without control characters.`,
    );
  }
  if (environment !== undefined && !isEnvironmentName(environment)) {
    throw new OfrepFailure('INVALID_CONTEXT', "The context's environment is the name of one, such as production.");
  }
  return { userId, environment: environmentOf(principal, environment, parts.environment), whole };
}

function isEnvironmentName(value: unknown): value is string {
  return EnvironmentName.safeParse(value).success;
}

function failure(error: unknown, key: string | null): Answer {
  if (error instanceof OfrepFailure) {
    return {
      status: FAILURES[error.code],
      body: { ...(key === null ? {} : { key }), errorCode: error.code, errorDetails: error.message },
    };
  }
  if (error instanceof FlagProblem) return ofrepProblem(error, key);
  throw error;
}

function noSuchFlag(key: string): OfrepFailure {
  return new OfrepFailure('FLAG_NOT_FOUND', `There is no flag ${JSON.stringify(key.slice(0, 150))}.`);
}

function missingKey(flag: string): string {
  return `${flag} depends on the user, and the context has no targetingKey.`;
}

function streamUri({ access, now }: OfrepParts, environment: string): string {
  return access.open ? OFREP.stream : `${OFREP.stream}?token=${access.streamToken(environment, now())}`;
}

/** JSON whose keys are in order, so that two contexts that say the same are the same. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    isObject(inner) ? Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)) : inner,
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
