import { createHash, timingSafeEqual } from 'node:crypto';
import {
  parseDeclare,
  parseEmpty,
  parsePromote,
  parseRemove,
  parseRollback,
  parseWeight,
  parseWindow,
  type Parsed,
} from './admin-input';
import { PROMETHEUS_CONTENT_TYPE } from './prometheus';
import {
  RouterPaths,
  type InputError,
  type MetricsDocument,
  type Problem,
  type ProblemCode,
  type ReleaseAnswer,
  type ResetAnswer,
  type RollbackAnswer,
  type StateDocument,
  type Trip,
  type WeightAnswer,
} from './protocol';
import type { Refusal, ReleaseState, Snapshot, WriteResult } from './release-state';

/** A request to an admin endpoint, from whatever framework. */
export interface AdminRequest {
  readonly method: string;
  /** The path alone, without the query. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly query: URLSearchParams;
  /** The body as text, or as the value a body parser before us made of it. */
  readonly body?: unknown;
  /** The body was over {@link RouterDefaults.maxBodyBytes} and was not read. */
  readonly bodyTooLarge?: boolean;
}

/** The answer to be sent as it is. */
export interface AdminResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** What the endpoints work on. */
export interface AdminHost {
  readonly instance: string;
  readonly adminPath: string;
  readonly prometheusPath: string | null;
  readonly adminToken: string | null;
  readonly state: ReleaseState;
  metrics(windowSeconds: number): MetricsDocument;
  describe(): StateDocument;
  prometheus(): string;
  rollback(reason: string, actor: string | undefined): Trip | null;
  resetMetrics(): string;
  refused(code: ProblemCode, detail: string, endpoint: string): void;
}

interface Endpoint {
  /** Whether anyone may call it; the others ask for the token. */
  readonly open: boolean;
  /** Whether it changes anything, so that a refusal is worth a log line. */
  readonly writes: boolean;
  readonly handle: (request: AdminRequest) => AdminResponse;
}

/** Answers the admin endpoints. */
export interface Admin {
  /** Whether a path belongs to the admin endpoints. */
  owns(path: string): boolean;
  /** Answers a request; never throws. */
  handle(request: AdminRequest): AdminResponse;
}

/** Longer tokens are not looked at. */
const MAX_TOKEN_LENGTH = 4096;

/** Builds the admin endpoints of a router. */
export function createAdmin(host: AdminHost): Admin {
  const endpoints = new Map<string, ReadonlyMap<string, Endpoint>>();
  const add = (path: string, methods: Record<string, Endpoint>): void => {
    endpoints.set(path, new Map(Object.entries(methods)));
  };
  const write = <T>(parse: (body: object) => Parsed<T>, act: (value: T) => AdminResponse): Endpoint => ({
    open: false,
    writes: true,
    handle: (request) => withBody(request, parse, act),
  });
  const base = host.adminPath;

  add(base + RouterPaths.metrics, {
    GET: {
      open: true,
      writes: false,
      handle: ({ query }) => {
        const window = parseWindow(query);
        return window.ok ? json(host.metrics(window.value)) : invalid(window.errors);
      },
    },
  });
  add(base + RouterPaths.state, { GET: { open: false, writes: false, handle: () => json(host.describe()) } });
  add(base + RouterPaths.release, {
    PUT: write(parseDeclare, ({ version, salt, fence, rearm = false }) =>
      answer(host.state.declare({ version, salt, fence, rearm }), releaseAnswer),
    ),
    DELETE: write(parseRemove, ({ fence }) => answer(host.state.remove({ fence }), releaseAnswer)),
  });
  add(base + RouterPaths.weight, {
    PUT: write(parseWeight, ({ weight, fence }) =>
      answer(host.state.setWeight({ weight, fence }), (after, before): WeightAnswer => ({
        instance: host.instance,
        weight: after.weight,
        previousWeight: before.weight,
        version: after.canaryVersion,
        fence: after.fence,
      })),
    ),
  });
  add(base + RouterPaths.promote, {
    POST: write(parsePromote, ({ version, fence }) => answer(host.state.promote({ version, fence }), releaseAnswer)),
  });
  add(base + RouterPaths.rollback, {
    POST: write(parseRollback, ({ reason, actor }) => {
      const before = host.state.snapshot;
      const tripped = host.rollback(reason, actor);
      return json({
        instance: host.instance,
        weight: 0,
        previousWeight: before.weight,
        version: before.canaryVersion,
        fence: before.fence,
        tripped,
      } satisfies RollbackAnswer);
    }),
  });
  add(base + RouterPaths.reset, {
    POST: write(parseEmpty, () =>
      json({ instance: host.instance, resetAt: host.resetMetrics() } satisfies ResetAnswer),
    ),
  });
  if (host.prometheusPath !== null) {
    add(host.prometheusPath, {
      GET: {
        open: true,
        writes: false,
        handle: () => ({ status: 200, headers: { 'content-type': PROMETHEUS_CONTENT_TYPE }, body: host.prometheus() }),
      },
    });
  }

  return {
    owns: (path) => endpoints.has(trimmed(path)),
    handle: (request) => {
      try {
        return route(request);
      } catch (error) {
        host.refused('INTERNAL', String(error), request.path);
        return problem({ status: 500, code: 'INTERNAL', detail: 'The cohort router failed; its log says how.' });
      }
    },
  };

  function route(request: AdminRequest): AdminResponse {
    const path = trimmed(request.path);
    const methods = endpoints.get(path);
    if (methods === undefined) {
      const known = [...endpoints.keys()].join(', ');
      return problem({ status: 404, code: 'NOT_FOUND', detail: `There is no endpoint ${path}; there are ${known}.` });
    }
    const endpoint = methods.get(request.method === 'HEAD' ? 'GET' : request.method);
    if (endpoint === undefined) {
      const allowed = [...methods.keys()].join(', ');
      return problem(
        { status: 405, code: 'METHOD_NOT_ALLOWED', detail: `${path} answers ${allowed}, not ${request.method}.` },
        { allow: allowed },
      );
    }
    const response = (endpoint.open ? null : refuseToken(request)) ?? endpoint.handle(request);
    if (endpoint.writes && response.status >= 400) {
      const { code, detail } = JSON.parse(response.body) as Problem;
      host.refused(code, detail, `${request.method} ${path}`);
    }
    return response;
  }

  function refuseToken(request: AdminRequest): AdminResponse | null {
    if (host.adminToken === null) {
      return problem({
        status: 403,
        code: 'ADMIN_DISABLED',
        detail:
          'No admin token is configured, so this endpoint is closed; set CANARY_ADMIN_TOKEN or the option adminToken and start again.',
      });
    }
    const token = givenToken(request.headers);
    if (token !== null && sameText(token, host.adminToken)) return null;
    return problem(
      {
        status: 401,
        code: 'UNAUTHORIZED',
        detail: `The admin token is ${token === null ? 'missing' : 'wrong'}; send it as "Authorization: Bearer …" or "X-Canary-Token: …".`,
      },
      { 'www-authenticate': 'Bearer realm="canary"' },
    );
  }

  function withBody<T>(
    request: AdminRequest,
    parse: (body: object) => Parsed<T>,
    act: (value: T) => AdminResponse,
  ): AdminResponse {
    if (request.bodyTooLarge === true) {
      return problem(
        { status: 413, code: 'BODY_TOO_LARGE', detail: 'The body is larger than any these endpoints take.' },
        { connection: 'close' },
      );
    }
    const body = readBody(request.body);
    if (body === null) {
      return problem({ status: 400, code: 'INVALID_JSON', detail: 'The body is not a JSON object.' });
    }
    const parsed = parse(body);
    return parsed.ok ? act(parsed.value) : invalid(parsed.errors);
  }

  function answer(result: WriteResult, build: (after: Snapshot, before: Snapshot) => object): AdminResponse {
    return result.ok ? json(build(result.after, result.before)) : problem(result.refusal);
  }

  function releaseAnswer(after: Snapshot): ReleaseAnswer {
    return {
      instance: host.instance,
      stableVersion: after.stableVersion,
      canaryVersion: after.canaryVersion,
      weight: after.weight,
      salt: after.salt,
      fence: after.fence,
    };
  }

  function invalid(errors: readonly InputError[]): AdminResponse {
    const list = errors.map(({ where, found, allowed }) => `${where} is ${found}; allowed: ${allowed}`);
    return problem({ status: 422, code: 'INVALID_INPUT', detail: `${list.join('. ')}.`, errors });
  }

  function problem(
    content: Omit<Refusal, 'status' | 'code'> & {
      readonly status: number;
      readonly code: ProblemCode;
      readonly errors?: readonly InputError[];
    },
    headers: Record<string, string> = {},
  ): AdminResponse {
    const { status, code, detail, ...extra } = content;
    const body: Problem = {
      type: `urn:sluice:problem:${code.toLowerCase().replaceAll('_', '-')}`,
      title: titles[code],
      status,
      detail,
      code,
      routerInstance: host.instance,
      ...extra,
    };
    return {
      status,
      headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store', ...headers },
      body: JSON.stringify(body),
    };
  }
}

const titles: Readonly<Record<ProblemCode, string>> = {
  INVALID_JSON: 'Body is not a JSON object',
  INVALID_INPUT: 'Invalid input',
  UNAUTHORIZED: 'Admin token missing or wrong',
  ADMIN_DISABLED: 'Admin endpoints are closed',
  NOT_FOUND: 'No such endpoint',
  METHOD_NOT_ALLOWED: 'Method not allowed',
  BODY_TOO_LARGE: 'Body too large',
  STALE_FENCE: 'Stale fence',
  RELEASE_HOLDS: 'A release holds this router',
  GUARD_TRIPPED: 'The canary was taken to 0 here',
  NO_CANARY: 'No such canary here',
  VERSION_MISMATCH: 'Not the version of the canary',
  ROUTER_DISABLED: 'Routing is switched off',
  UNKNOWN_VERSION: 'Unknown version',
  INTERNAL: 'Internal error',
};

function json(document: object): AdminResponse {
  return {
    status: 200,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    body: JSON.stringify(document),
  };
}

function trimmed(path: string): string {
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

/** The body as an object; an empty one counts as `{}`, null is no JSON object. */
function readBody(body: unknown): object | null {
  let value = body;
  if (typeof body === 'string') {
    if (body.trim() === '') return {};
    try {
      value = JSON.parse(body);
    } catch {
      return null;
    }
  }
  if (value === undefined) return {};
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : null;
}

function givenToken(headers: AdminRequest['headers']): string | null {
  const bearer = /^Bearer +(\S+) *$/i.exec(first(headers.authorization))?.[1];
  const token = bearer ?? first(headers['x-canary-token']);
  return token === '' || token.length > MAX_TOKEN_LENGTH ? null : token;
}

function first(value: string | readonly string[] | undefined): string {
  return (typeof value === 'string' ? value : value?.[0]) ?? '';
}

/** Compares by digest, so that neither content nor length shows in the time it takes. */
function sameText(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
