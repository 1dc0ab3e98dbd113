import { randomUUID } from 'node:crypto';
import { messageOf } from '../../errors';
import { FlagDefaults } from '../defaults';
import { PostedOutcome } from '../flag';
import { consoleFlagLogger } from '../logger';
import type { FlagLogger } from '../logger';
import { FlagServiceError } from './flag-service-client';
import type { FlagServiceClient, NewOutcomes } from './flag-service-client';

export interface OutcomeReporterOptions {
  readonly service: Pick<FlagServiceClient, 'postOutcomes'>;
  /** Where this application runs; default: what the service takes, by the key or by its setting. */
  readonly environment?: string;
  /** Between two posts, milliseconds; default 500. */
  readonly flushMs?: number;
  /** Outcomes held at most; more are lost, and counted. Default 10,000. */
  readonly maxBuffered?: number;
  /** Default: one JSON object a line on stderr. */
  readonly logger?: FlagLogger;
  readonly now?: () => number;
}

/** How it went for a user of a flag. */
export interface OutcomeToReport {
  readonly userId?: string;
  /** What the flag had answered (`on`, `off` or a variant of its own): exact also while the percentage changes. */
  readonly variant?: string;
  readonly ok: boolean;
  /** Milliseconds. */
  readonly latencyMs?: number;
}

/** What goes out in one request, and again under the same key until it is answered. */
interface Batch {
  readonly flag: string;
  readonly key: string;
  readonly outcomes: NewOutcomes['outcomes'];
  readonly begunAt: number;
}

/**
 * Collects outcomes and posts them to the flag service in batches, each under an Idempotency-Key, so that one that was
 * not answered is sent again and counted once. What the service refuses, what does not fit and what is a minute old
 * before the service could be reached is lost, counted and logged.
 */
export class OutcomeReporter {
  readonly #service: Pick<FlagServiceClient, 'postOutcomes'>;
  readonly #environment: string | undefined;
  readonly #maxBuffered: number;
  readonly #logger: FlagLogger;
  readonly #now: () => number;
  readonly #timer: NodeJS.Timeout;
  #batches: Batch[] = [];
  /** Batches that went out once: what they hold is fixed, for under their key they are one and the same request. */
  readonly #sent = new WeakSet<Batch>();
  #buffered = 0;
  #lost = 0;
  #flushing: Promise<void> | null = null;
  #failing = false;

  constructor(options: OutcomeReporterOptions) {
    this.#service = options.service;
    this.#environment = options.environment;
    this.#maxBuffered = options.maxBuffered ?? FlagDefaults.outcomesBuffered;
    this.#logger = options.logger ?? consoleFlagLogger;
    this.#now = options.now ?? Date.now;
    this.#timer = setInterval(() => void this.flush(), options.flushMs ?? FlagDefaults.usageFlushMs);
    this.#timer.unref();
  }

  /** Outcomes that the service never counted, or of which that is not known. */
  get lost(): number {
    return this.#lost;
  }

  /** Takes one outcome. Never throws, never waits. */
  report(flag: string, { userId, variant, ok, latencyMs }: OutcomeToReport): void {
    if (this.#buffered >= this.#maxBuffered) {
      this.#lose(1, 'more outcomes are waiting than are kept');
      return;
    }
    // One that the service would refuse would take its whole batch along.
    const posted = PostedOutcome.safeParse({ user_id: userId, variant, ok, latency_ms: latencyMs });
    if (!posted.success) {
      this.#lose(1, `an outcome is not valid: ${posted.error.issues[0]?.message ?? ''}`);
      return;
    }
    this.#buffered += 1;
    this.#batchOf(flag).outcomes.push(posted.data);
  }

  /** Posts what is there. Never throws; what is not answered stays for the next time. */
  async flush(): Promise<void> {
    // One that is under way may not have what was reported since it began.
    if (this.#flushing !== null) await this.#flushing;
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = null;
    });
    await this.#flushing;
  }

  /** Posts the last outcomes; those that cannot be posted now are lost. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.flush();
    const left = this.#batches.reduce((sum, { outcomes }) => sum + outcomes.length, 0);
    this.#batches = [];
    this.#buffered = 0;
    if (left > 0) this.#lose(left, 'the flag service could not be reached before the end');
  }

  #batchOf(flag: string): Batch {
    const open = this.#batches.findLast((batch) => batch.flag === flag);
    if (open !== undefined && open.outcomes.length < FlagDefaults.maxOutcomes && !this.#sent.has(open)) return open;
    const batch: Batch = { flag, key: randomUUID(), outcomes: [], begunAt: this.#now() };
    this.#batches.push(batch);
    return batch;
  }

  async #flush(): Promise<void> {
    for (const batch of [...this.#batches]) {
      if (batch.begunAt <= this.#now() - FlagDefaults.outcomePatienceMs) {
        this.#drop(batch, 'the flag service could not be reached for too long');
        continue;
      }
      this.#sent.add(batch);
      try {
        const environment = this.#environment === undefined ? {} : { environment: this.#environment };
        const body = { ...environment, outcomes: batch.outcomes };
        await this.#service.postOutcomes(batch.flag, body, { idempotencyKey: batch.key });
        this.#remove(batch);
        this.#failing = false;
      } catch (error) {
        if (!isPassing(error)) {
          this.#drop(batch, messageOf(error));
          continue;
        }
        if (!this.#failing) {
          this.#logger.warn('outcomes cannot be posted; they are kept and tried again', { error: messageOf(error) });
        }
        this.#failing = true;
        // The others would only wait for the same.
        return;
      }
    }
  }

  #remove(batch: Batch): void {
    this.#batches = this.#batches.filter((one) => one !== batch);
    this.#buffered -= batch.outcomes.length;
  }

  #drop(batch: Batch, why: string): void {
    this.#remove(batch);
    this.#lose(batch.outcomes.length, why);
  }

  /** Said at the first loss, and whenever there are twice as many. */
  #lose(count: number, why: string): void {
    const before = this.#lost;
    this.#lost += count;
    if (before > 0 && Math.floor(Math.log2(before)) === Math.floor(Math.log2(this.#lost))) return;
    this.#logger.warn('outcomes were lost', { why, lost: this.#lost });
  }
}

/** Whether the same request may be answered another time. */
function isPassing(error: unknown): boolean {
  return error instanceof FlagServiceError && (error.status === null || error.status === 429 || error.status >= 500);
}
