import {
  createCohortRouter,
  type AdminResponse,
  type CohortRouter,
  type CohortRouterOptions,
  type Fence,
  type Problem,
  type RouterClock,
  type RouterLogger,
  type RoutedRequest,
} from '../../src/router';

export const TOKEN = 'a-token-for-tests';

/** A clock that stands still until told otherwise; both readings move together. */
export class FakeClock implements RouterClock {
  #ms = 0;

  now(): number {
    return Date.UTC(2026, 0, 1) + this.#ms;
  }

  monotonic(): number {
    return 1_000_000 + this.#ms;
  }

  advance(ms: number): void {
    this.#ms += ms;
  }
}

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A logger that keeps its lines. */
export function memoryLogger(): RouterLogger & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const keep = (level: string) => (message: string, data: Readonly<Record<string, unknown>>) => {
    lines.push({ level, message, data });
  };
  return { lines, info: keep('info'), warn: keep('warn'), error: keep('error') };
}

/** A router with a fake clock, a silent log, no environment and a token. */
export function testRouter(options: CohortRouterOptions = {}): {
  router: CohortRouter;
  clock: FakeClock;
  logger: ReturnType<typeof memoryLogger>;
} {
  const clock = new FakeClock();
  const logger = memoryLogger();
  const router = createCohortRouter({
    stableVersion: '1.0.0',
    adminToken: TOKEN,
    environment: {},
    clock,
    logger,
    ...options,
  });
  return { router, clock, logger };
}

/** Calls an admin endpoint with the token; `target` is a path with an optional query. */
export function admin(
  router: CohortRouter,
  method: string,
  target: string,
  body?: unknown,
  headers: Record<string, string> = { authorization: `Bearer ${TOKEN}` },
): AdminResponse {
  const [path = '', query = ''] = target.split('?');
  return router.handleAdmin({
    method,
    path,
    headers,
    query: new URLSearchParams(query),
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
}

/** The same, with the answer read: fails the test when it is not the status expected. */
export function call<T = Record<string, unknown>>(
  router: CohortRouter,
  status: number,
  ...[method, target, body]: [method: string, target: string, body?: unknown]
): T {
  const response = admin(router, method, target, body);
  expect({ status: response.status, body: response.body }).toMatchObject({ status });
  return JSON.parse(response.body) as T;
}

/** The same for refusals: checks the code and the form of problem documents. */
export function refusal(
  router: CohortRouter,
  [status, code]: [status: number, code: string],
  ...[method, target, body]: [method: string, target: string, body?: unknown]
): Problem {
  const response = admin(router, method, target, body);
  const problem = JSON.parse(response.body) as Problem;
  expect(response.headers['content-type']).toBe('application/problem+json');
  expect(problem).toMatchObject({ status, code });
  expect(response.status).toBe(status);
  expect(problem.detail).toMatch(/\.$/);
  return problem;
}

export function fence(step: number, attempt = 1, release = 'r1', epoch = 1): Fence {
  return { release, epoch, step, attempt };
}

/** Declares version 2.0.0 by release r1 with fence (1, 0, 1) and sets its weight with (1, 1, 1). */
export function startRelease(router: CohortRouter, weight: number): void {
  call(router, 200, 'PUT', '/canary/release', { version: '2.0.0', salt: 'r1', fence: fence(0) });
  call(router, 200, 'PUT', '/canary/weight', { weight, fence: fence(1) });
}

let users = 0;

/** Sends one request of a new user through the router until it lands in `cohort`, and ends it. */
export function send(
  router: CohortRouter,
  cohort: 'stable' | 'canary',
  options: { count?: number; status?: number; end?: 'threw' | 'aborted'; latencyMs?: number; clock?: FakeClock } = {},
): void {
  for (let sent = 0; sent < (options.count ?? 1); sent++) {
    const exchange = beginIn(router, cohort);
    if (options.latencyMs !== undefined) options.clock?.advance(options.latencyMs);
    exchange.finish(options.end ?? { status: options.status ?? 200 });
  }
}

/** Begins a request that lands in `cohort`. */
export function beginIn(router: CohortRouter, cohort: 'stable' | 'canary', request: RoutedRequest = {}) {
  for (let tries = 0; tries < 10_000; tries++) {
    const exchange = router.begin({ ...request, userId: `user-${users++}` });
    if (exchange.assignment.cohort === cohort) return exchange;
  }
  throw new Error(`no user lands in ${cohort} at weight ${router.snapshot().weight}`);
}
