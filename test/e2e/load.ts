import { Agent, get } from 'node:http';
import { GrpcCaller } from '../lab/grpc';

/** What one request through the gateway came to. */
export interface Served {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** 0 for no answer at all; of gRPC 200 for its OK. */
  readonly status: number;
  /** By the header of the shop; null when it was not the shop who answered. */
  readonly version: string | null;
  /** What gRPC says where it is not OK. */
  readonly problem?: string;
}

export interface LoadChoices {
  /** 40 by default. */
  readonly perSecond?: number;
  /** HTTP by default. */
  readonly speaks?: 'grpc';
}

type Outcome = Omit<Served, 'at'>;

/** Somebody who asks the shop again and again. */
interface Asker {
  ask(): Promise<Outcome>;
  close(): void;
}

/** A bounded load through the real gateway; every response is kept, with the version that served it. */
export class Load {
  readonly served: Served[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #asker: Asker;
  readonly #open = new Set<Promise<void>>();

  constructor(url: string, host: string, { perSecond = 40, speaks }: LoadChoices = {}) {
    this.#asker = speaks === 'grpc' ? byGrpc(url, host) : byHttp(url, host);
    this.#timer = setInterval(() => this.#send(), 1_000 / perSecond);
  }

  /** Waits for the answers that are still to come. */
  async stop(): Promise<readonly Served[]> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    this.#asker.close();
    return this.served;
  }

  /** The answers since a moment, by version. */
  countsSince(at: number): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const one of this.served) {
      if (one.at < at) continue;
      const key = one.version ?? `no version (${one.status})`;
      counts[key] = (counts[key] ?? 0) + 1;
    }
    return counts;
  }

  #send(): void {
    const at = Date.now();
    const one = this.#asker.ask().then((outcome) => void this.served.push({ at, ...outcome }));
    this.#open.add(one);
    void one.then(() => this.#open.delete(one));
  }
}

function byHttp(url: string, host: string): Asker {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  return {
    ask: () =>
      new Promise((resolve) => {
        const done = (status: number, version: string | null): void => resolve({ status, version });
        const request = get(url, { headers: { host }, agent, timeout: 10_000 }, (response) => {
          response.resume();
          const version = response.headers['x-version'];
          response.once('end', () => done(response.statusCode ?? 0, typeof version === 'string' ? version : null));
          response.once('error', () => done(0, null));
        });
        request.once('timeout', () => request.destroy(new Error('no answer within 10 s')));
        request.once('error', () => done(0, null));
      }),
    close: () => agent.destroy(),
  };
}

function byGrpc(url: string, host: string): Asker {
  const caller = new GrpcCaller(url, host);
  return {
    ask: async () => {
      const { status, version = null, problem } = await caller.browse();
      return { status, version, ...(problem === null ? {} : { problem }) };
    },
    close: () => caller.close(),
  };
}
