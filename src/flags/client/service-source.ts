import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../../errors';
import type { RulesetAnswer } from '../answers';
import { FlagDefaults } from '../defaults';
import type { StoredFlag } from '../flag';
import type { FlagLogger } from '../logger';
import type { FlagSource, StoreChanges, StoreHead } from '../store';
import type { FlagServiceClient } from './flag-service-client';

export interface ServiceFlagSourceOptions {
  readonly service: FlagServiceClient;
  readonly logger: FlagLogger;
}

/**
 * A flag service as what a snapshot is followed from, for a process that cannot reach the store: asked by ETag whether
 * there is something new, and told by its event stream when to ask. Of one follower: it knows where that one stands.
 */
export class ServiceFlagSource implements FlagSource {
  readonly #service: FlagServiceClient;
  readonly #logger: FlagLogger;
  #reached: StoreHead | null = null;
  /** What came with the last head, for the question that follows it. */
  #answer: RulesetAnswer | null = null;

  constructor({ service, logger }: ServiceFlagSourceOptions) {
    this.#service = service;
    this.#logger = logger;
  }

  async head(): Promise<StoreHead> {
    const answer = await this.#ask(this.#reached);
    if (answer === null && this.#reached !== null) return this.#reached;
    if (answer === null) throw new Error('the flag service says that nothing has changed since nothing');
    this.#answer = answer;
    return headOf(answer);
  }

  async changes(since: StoreHead | null, tell: (flag: StoredFlag) => void): Promise<StoreChanges> {
    const held = isSame(since, this.#reached) ? this.#answer : null;
    this.#answer = null;
    const first = held ?? (await this.#ask(since));
    if (first === null && since !== null) return { head: since, complete: false, deleted: [] };
    let page = first;
    while (page !== null) {
      for (const { revision, ...flag } of page.flags) tell({ flag, revision });
      page = page.next_cursor === null ? null : await this.#service.ruleset({ cursor: page.next_cursor });
    }
    if (first === null) throw new Error('the flag service gave no flags');
    this.#reached = headOf(first);
    return { head: this.#reached, complete: first.complete, deleted: first.deleted };
  }

  subscribe(listener: () => void): () => void {
    const stopped = new AbortController();
    void this.#listen(listener, stopped.signal);
    return () => stopped.abort();
  }

  #ask(since: StoreHead | null): Promise<RulesetAnswer | null> {
    return this.#service.ruleset(since === null ? {} : { since });
  }

  /** For as long as somebody follows, over as many streams as it takes. */
  async #listen(listener: () => void, signal: AbortSignal): Promise<void> {
    let failing = false;
    while (!signal.aborted) {
      try {
        await this.#service.listen(
          () => {
            failing = false;
            listener();
          },
          { signal },
        );
      } catch (error) {
        if (!failing && !signal.aborted) {
          this.#logger.warn('the event stream of the flag service broke; changes are looked for until it is back', {
            error: messageOf(error),
          });
        }
        failing = true;
      }
      // Spread, so that many processes do not all come back at once.
      const pause = FlagDefaults.serviceRetryMs * (0.8 + 0.4 * Math.random());
      await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

function headOf({ incarnation, revision }: RulesetAnswer): StoreHead {
  return { incarnation, revision };
}

function isSame(one: StoreHead | null, other: StoreHead | null): boolean {
  return one?.incarnation === other?.incarnation && one?.revision === other?.revision;
}
