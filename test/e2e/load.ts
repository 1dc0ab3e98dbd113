import { Agent, get } from 'node:http';

/** What one request through the gateway came to. */
export interface Served {
  /** Milliseconds since 1970. */
  readonly at: number;
  /** 0 for no answer at all. */
  readonly status: number;
  /** By the header of the shop; null when it was not the shop who answered. */
  readonly version: string | null;
}

/** A bounded load through the real gateway; every response is kept, with the version that served it. */
export class Load {
  readonly served: Served[] = [];
  readonly #timer: NodeJS.Timeout;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 16 });
  readonly #open = new Set<Promise<void>>();

  constructor(
    private readonly url: string,
    private readonly host: string,
    { perSecond = 40 }: { readonly perSecond?: number } = {},
  ) {
    this.#timer = setInterval(() => this.#send(), 1_000 / perSecond);
  }

  /** Waits for the answers that are still to come. */
  async stop(): Promise<readonly Served[]> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
    this.#agent.destroy();
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
    const one = new Promise<void>((resolve) => {
      const done = (status: number, version: string | null): void => {
        this.served.push({ at, status, version });
        resolve();
      };
      const request = get(
        this.url,
        { headers: { host: this.host }, agent: this.#agent, timeout: 10_000 },
        (response) => {
          response.resume();
          const version = response.headers['x-version'];
          response.once('end', () => done(response.statusCode ?? 0, typeof version === 'string' ? version : null));
          response.once('error', () => done(0, null));
        },
      );
      request.once('timeout', () => request.destroy(new Error('no answer within 10 s')));
      request.once('error', () => done(0, null));
    });
    this.#open.add(one);
    void one.then(() => this.#open.delete(one));
  }
}
