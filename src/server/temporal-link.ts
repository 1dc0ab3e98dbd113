import type { SluiceClient } from '../client/client-types';
import { messageOf } from '../errors';
import type { FlagLogger } from '../flags/logger';
import { ServerDefaults } from './server-defaults';

/** Whether releases can be asked about, as far as is known. Shown to anybody: where Temporal is stands in the log alone. */
export type TemporalState =
  { readonly state: 'unknown' | 'away' } | { readonly state: 'reachable'; readonly workers: number };

export interface TemporalLinkOptions {
  /** Throws a `ReleaseError` when Temporal is not there. */
  readonly connect: () => Promise<SluiceClient>;
  readonly logger: FlagLogger;
}

/**
 * The server's connection to Temporal, which may be away when the server starts and at any time later: it is made when it
 * is first needed, and tried anew by whoever needs it next.
 */
export class TemporalLink {
  readonly #connect: () => Promise<SluiceClient>;
  readonly #logger: FlagLogger;
  #client: Promise<SluiceClient> | null = null;
  #state: TemporalState = { state: 'unknown' };
  #timer: NodeJS.Timeout | null = null;
  #checking: Promise<void> | null = null;
  #closed = false;

  constructor({ connect, logger }: TemporalLinkOptions) {
    this.#connect = connect;
    this.#logger = logger;
  }

  get state(): TemporalState {
    return this.#state;
  }

  /** Looks now and then whether Temporal is there, so that nobody has to wait to be told. */
  watch(): void {
    if (this.#closed) return;
    this.#checking = this.#check().then(() => {
      this.#checking = null;
      if (this.#closed) return;
      this.#timer = setTimeout(() => this.watch(), ServerDefaults.temporalCheckMs);
      this.#timer.unref();
    });
  }

  /**
   * The client; those who ask while it connects share the attempt.
   *
   * @throws ReleaseError when Temporal is away.
   */
  async client(): Promise<SluiceClient> {
    this.#client ??= this.#connect();
    const attempt = this.#client;
    try {
      return await attempt;
    } catch (error) {
      if (this.#client === attempt) this.#client = null;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    // An attempt that fails has told who asked for it, and leaves nothing to close.
    const client = await this.#client?.catch(() => null);
    // Ends a look that is under way, too.
    await client?.close();
    await this.#checking;
  }

  async #check(): Promise<void> {
    const before = this.#state.state;
    try {
      const client = await this.client();
      const workers = await client.workers();
      this.#state = { state: 'reachable', workers: workers.length };
      if (before !== 'reachable') this.#logger.info('Temporal is reachable', { where: client.where });
    } catch (error) {
      if (this.#closed) return;
      this.#state = { state: 'away' };
      if (before !== 'away') this.#logger.warn('Temporal is away', { problem: messageOf(error) });
    }
  }
}
