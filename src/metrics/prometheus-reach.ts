import { promDuration } from '../spec/query-template';
import type { HttpClient } from './http';
import { readAnswer } from './prometheus-answer';
import { askOrSay, seconds } from './prometheus-request';
import type { PrometheusAddress } from './prometheus-request';

/** Whether a server has samples of a moment: `no` only where it has some of its targets now, and none of then. */
export type Reach = 'yes' | 'no' | 'unknown';

export interface ReachQuestion {
  /** What is now, epoch milliseconds. */
  readonly at: number;
  readonly backMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** How far it reaches moves on as slowly as time does: asked again after a while, and not at every look. */
const REMEMBERED_MS = 10 * 60_000;

interface Remembered {
  readonly moment: number;
  readonly until: number;
}

/**
 * Makes the question for servers that do not say how long they keep samples. A moment that is there stands for all
 * after it, and one that is not for all before it.
 */
export function createReachCheck(
  client: HttpClient,
  address: PrometheusAddress,
): (asked: ReachQuestion) => Promise<Reach> {
  let has: Remembered | null = null;
  let lacks: Remembered | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const known = (moment: number): Reach => {
    const now = performance.now();
    if (has !== null && now < has.until && moment >= has.moment) return 'yes';
    if (lacks !== null && now < lacks.until && moment <= lacks.moment) return 'no';
    return 'unknown';
  };
  const ask = async (asked: ReachQuestion): Promise<Reach> => {
    const moment = asked.at - asked.backMs;
    const before = known(moment);
    if (before !== 'unknown') return before;
    const reach = await askReach(client, address, asked);
    const told = { moment, until: performance.now() + REMEMBERED_MS };
    if (reach === 'yes') has = told;
    if (reach === 'no') lacks = told;
    return reach;
  };
  return (asked) => {
    // One after the other: the questions of one look mostly share an answer.
    const answer = last.then(() => ask(asked));
    last = answer.catch(() => undefined);
    return answer;
  };
}

/** Nothing is made of a server that cannot be asked: it says so at the query itself, which follows. */
async function askReach(
  client: HttpClient,
  address: PrometheusAddress,
  { at, backMs, signal }: ReachQuestion,
): Promise<Reach> {
  const answer = await askOrSay(client, address, {
    path: '/api/v1/query',
    // Within an hour, so that a restart of the server at that very moment is not taken for the end of its memory.
    form: {
      query: `count(up) unless on() count_over_time(count(up)[1h:10m] offset ${promDuration(backMs)})`,
      time: seconds(at),
    },
    read: readAnswer,
    ...(signal === undefined ? {} : { signal }),
  });
  if (typeof answer === 'string') return 'unknown';
  if (answer.kind === 'value') return 'no';
  return answer.kind === 'empty' ? 'yes' : 'unknown';
}
