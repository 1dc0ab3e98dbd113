import { z } from 'zod';
import { describeHttpFailure, displayUrl, HttpFailure } from '../../metrics/http';
import type { HttpAnswer, HttpClient } from '../../metrics/http';
import { RouterDefaults } from '../../router/defaults';
import { RouterPaths } from '../../router/protocol';
import type { Fence, Problem, ProblemCode } from '../../router/protocol';
import { TargetFailure } from '../target';
import type { TargetFailureKind } from '../target';

/** The part of the router's state document that a release reads; src/router/protocol.ts has the whole. */
const State = z.object({
  startedAt: z.string(),
  holder: z.string().nullable(),
  fence: z.object({ release: z.string(), epoch: z.number(), step: z.number(), attempt: z.number() }).nullable(),
  config: z.object({
    stableVersion: z.object({ value: z.string() }),
    canaryVersion: z.object({ value: z.string().nullable() }),
    weight: z.object({ value: z.number(), origin: z.string() }),
  }),
  guard: z.object({
    tripped: z
      .object({
        rule: z.string(),
        release: z.string().nullable(),
        version: z.string(),
        reason: z.string(),
        previousWeight: z.number(),
      })
      .nullable(),
  }),
});
export type RouterState = z.infer<typeof State>;

/** The admin endpoints of one instance of an app that carries the cohort router. */
export interface AdminClient {
  /** How people know it: its address. */
  readonly name: string;
  state(signal: AbortSignal): Promise<RouterState>;
  declare(body: { version: string; salt: string; fence: Fence; rearm?: boolean }, signal: AbortSignal): Promise<void>;
  remove(body: { fence: Fence }, signal: AbortSignal): Promise<void>;
  setWeight(body: { weight: number; fence: Fence }, signal: AbortSignal): Promise<void>;
  promote(body: { version: string; fence: Fence }, signal: AbortSignal): Promise<void>;
}

export interface AdminClientOptions {
  readonly http: HttpClient;
  /** Base URL of the instance. */
  readonly instance: string;
  readonly token: string;
}

/** A refusal by the router, with its code; `code` is null where the answer was not the router's. */
export class AdminRefusal extends TargetFailure {
  readonly code: ProblemCode | null;

  constructor(kind: TargetFailureKind, message: string, code: ProblemCode | null) {
    super(kind, message);
    this.code = code;
  }
}

export function createAdminClient(options: AdminClientOptions): AdminClient {
  const name = displayUrl(options.instance);
  const base = `${options.instance.replace(/\/+$/, '')}${RouterDefaults.adminPath}`;
  const headers = { Authorization: `Bearer ${options.token}` };

  async function call(
    method: 'GET' | 'PUT' | 'POST' | 'DELETE',
    path: string,
    signal: AbortSignal,
    body?: unknown,
  ): Promise<unknown> {
    let answer: HttpAnswer;
    try {
      answer = await options.http.request({
        method,
        url: `${base}${path}`,
        headers,
        signal,
        ...(body === undefined ? {} : { body }),
      });
    } catch (error) {
      // A redirect and an address that is never asked are settings; everything else may pass.
      const lasting = error instanceof HttpFailure && (error.kind === 'redirect' || error.kind === 'address');
      throw new TargetFailure(lasting ? 'invalidTarget' : 'unreachable', `${name} ${describeHttpFailure(error)}.`, {
        cause: error,
      });
    }
    if (answer.status >= 200 && answer.status < 300 && answer.json !== undefined) return answer.json;
    throw refusalOf(name, answer);
  }

  return {
    name,
    state: async (signal) => {
      const document = await call('GET', RouterPaths.state, signal);
      const parsed = State.safeParse(document);
      if (!parsed.success) {
        throw new TargetFailure('invalidTarget', `${name} does not answer like a cohort router at ${base}.`);
      }
      return parsed.data;
    },
    declare: async (body, signal) => {
      confirm(await call('PUT', RouterPaths.release, signal, body), 'canaryVersion', body.version);
    },
    remove: async (body, signal) => {
      confirm(await call('DELETE', RouterPaths.release, signal, body), 'canaryVersion', null);
    },
    setWeight: async (body, signal) => {
      confirm(await call('PUT', RouterPaths.weight, signal, body), 'weight', body.weight);
    },
    promote: async (body, signal) => {
      confirm(await call('POST', RouterPaths.promote, signal, body), 'stableVersion', body.version);
    },
  };

  /** A write is done when the router says what it is at now: a proxy's own friendly answer is none. */
  function confirm(answer: unknown, field: string, value: string | number | null): void {
    const said: unknown = typeof answer === 'object' && answer !== null ? Reflect.get(answer, field) : undefined;
    if (said === value) return;
    throw new TargetFailure('invalidTarget', `${name} does not answer like a cohort router at ${base}.`);
  }
}

/** Which refusals mean what; every other answer is taken for a passing fault of whatever stands before the app. */
const KINDS: Partial<Record<ProblemCode, TargetFailureKind>> = {
  STALE_FENCE: 'fenceLost',
  GUARD_TRIPPED: 'guardTripped',
  UNKNOWN_VERSION: 'unknownVersion',
  UNAUTHORIZED: 'invalidTarget',
  ADMIN_DISABLED: 'invalidTarget',
  NOT_FOUND: 'invalidTarget',
  METHOD_NOT_ALLOWED: 'invalidTarget',
  ROUTER_DISABLED: 'invalidTarget',
  INVALID_INPUT: 'invalidTarget',
  VERSION_MISMATCH: 'invalidTarget',
};

function refusalOf(name: string, answer: HttpAnswer): TargetFailure {
  const problem = problemOf(answer.json);
  if (problem !== null) {
    return new AdminRefusal(KINDS[problem.code] ?? 'unreachable', `${name}: ${problem.detail}`, problem.code);
  }
  const found = answer.status >= 200 && answer.status < 300 ? 'something that is not JSON' : `${answer.status}`;
  return new AdminRefusal(
    answer.status === 404 ? 'invalidTarget' : 'unreachable',
    `${name} answered ${found} where the cohort router's admin endpoints should be.`,
    null,
  );
}

function problemOf(json: unknown): Problem | null {
  if (typeof json !== 'object' || json === null) return null;
  return 'code' in json && typeof json.code === 'string' && 'detail' in json && typeof json.detail === 'string'
    ? (json as Problem)
    : null;
}

/** True for a failure that says the instance has forgotten the release, as one does that was started again. */
export function isForgotten(error: unknown): boolean {
  return error instanceof AdminRefusal && error.code === 'NO_CANARY';
}
