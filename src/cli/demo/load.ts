import { Agent, get } from 'node:http';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';

/** Users of the shop, made up: a bounded number of requests a second, to loopback, for a bounded time. */

export interface LoadOptions {
  /** Base addresses, used in turn. Only loopback is accepted. */
  readonly urls: readonly string[];
  readonly path: string;
  readonly perSecond: number;
  /** Of one request: who asks, or for what. */
  headers(): Readonly<Record<string, string>>;
  /** Who answered, by the answer's headers; null when it was neither. */
  cohortOf(answer: IncomingHttpHeaders): 'stable' | 'canary' | null;
  /** Ends by itself after that, whatever happens to whoever started it. */
  readonly maxMs: number;
}

export interface CohortCount {
  readonly answers: number;
  /** With a status from 500, or cut off after the headers. */
  readonly errors: number;
}

export interface LoadCounts {
  readonly sent: number;
  readonly stable: CohortCount;
  readonly canary: CohortCount;
  /** Requests without an answer: they belong to no cohort, and to nobody's satisfaction. */
  readonly unanswered: number;
  /** Not sent because too many were on their way. */
  readonly skipped: number;
}

export interface Load {
  counts(): LoadCounts;
  /** Canary answers of all since the last call; null without any. */
  takeShare(): number | null;
  /** Stops sending, and resolves when the last answer is there. */
  stop(): Promise<void>;
}

const TICK_MS = 20;
const MAX_IN_FLIGHT = 200;
const ANSWER_WITHIN_MS = 5000;

export function startLoad(options: LoadOptions): Load {
  for (const url of options.urls) {
    if (!/^http:\/\/127\.0\.0\.1:\d+$/u.test(url)) throw new Error(`${url} is not on loopback`);
  }
  const agent = new Agent({ keepAlive: true, maxSockets: MAX_IN_FLIGHT });
  const counts = { sent: 0, unanswered: 0, skipped: 0 };
  const cohorts = { stable: { answers: 0, errors: 0 }, canary: { answers: 0, errors: 0 } };
  const share = { canary: 0, all: 0 };
  let inFlight = 0;
  let drained: (() => void) | null = null;
  const settle = (): void => {
    inFlight -= 1;
    if (inFlight === 0) drained?.();
  };

  const count = (response: IncomingMessage): void => {
    const cohort = options.cohortOf(response.headers);
    if (cohort === null) {
      counts.unanswered += 1;
      return;
    }
    const failed = (response.statusCode ?? 0) >= 500;
    cohorts[cohort].answers += 1;
    if (failed) cohorts[cohort].errors += 1;
    // Whoever asked has a half of an answer then, whatever its status says.
    else response.once('close', () => (cohorts[cohort].errors += response.complete ? 0 : 1));
    share.all += 1;
    if (cohort === 'canary') share.canary += 1;
  };

  const send = (): void => {
    if (inFlight >= MAX_IN_FLIGHT) {
      counts.skipped += 1;
      return;
    }
    const url = options.urls[counts.sent % options.urls.length] ?? '';
    counts.sent += 1;
    inFlight += 1;
    let answered = false;
    const request = get(
      `${url}${options.path}`,
      { agent, headers: options.headers(), timeout: ANSWER_WITHIN_MS },
      (response) => {
        answered = true;
        count(response);
        response.once('close', settle);
        response.resume();
      },
    );
    request.once('timeout', () => request.destroy(new Error('no answer in time')));
    request.once('error', () => {
      // After the answer's headers the response settles it; an error before them is an answer that never came.
      if (answered) return;
      counts.unanswered += 1;
      settle();
    });
  };

  // By the clock and not by counting ticks: a late tick sends what was due meanwhile.
  const started = performance.now();
  let due = 0;
  const clock = setInterval(() => {
    const elapsed = performance.now() - started;
    if (elapsed > options.maxMs) {
      clearInterval(clock);
      return;
    }
    const target = Math.floor((elapsed / 1000) * options.perSecond);
    // After a long pause of this process only a little is made up for: users do not come in crowds.
    due = Math.max(due, target - Math.ceil(options.perSecond / 4));
    for (; due < target; due += 1) send();
  }, TICK_MS);

  return {
    counts: () => ({ ...counts, stable: { ...cohorts.stable }, canary: { ...cohorts.canary } }),
    takeShare() {
      const value = share.all === 0 ? null : share.canary / share.all;
      share.canary = 0;
      share.all = 0;
      return value;
    },
    async stop() {
      clearInterval(clock);
      if (inFlight > 0) {
        await new Promise<void>((resolve) => {
          drained = resolve;
        });
      }
      agent.destroy();
    },
  };
}
