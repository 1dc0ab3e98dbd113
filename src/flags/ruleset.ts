import { setTimeout as delay } from 'node:timers/promises';
import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import { compileFlag } from './evaluate';
import type { CompiledFlag } from './evaluate';
import { Listeners } from './listeners';
import type { FlagLogger } from './logger';
import type { FlagSource, StoreHead } from './store';

export interface RulesetOptions {
  readonly source: FlagSource;
  readonly logger: FlagLogger;
  /** Between two looks at the source, milliseconds; default 500. */
  readonly pollMs?: number;
  /** Without contact for so long it is stale; default 5 minutes. */
  readonly staleMs?: number;
  /** Never goes back, milliseconds. */
  readonly monotonic?: () => number;
}

/** One look that was under way, one after it; more find nothing else. */
const CATCH_UP_LOOKS = 3;

/** How good what is known is. */
export type RulesetState =
  /** Nothing was ever loaded: every flag is off. */
  | 'empty'
  | 'fresh'
  /** Last heard of the source longer ago than is documented; still answered from. */
  | 'stale';

/**
 * Every flag in this process's memory, ready to be asked, kept up with its source: told of changes by it, and looking by
 * itself for what telling missed. While the source is away, what was last known stays.
 */
export class Ruleset {
  readonly #source: FlagSource;
  readonly #logger: FlagLogger;
  readonly #pollMs: number;
  readonly #staleMs: number;
  readonly #monotonic: () => number;
  readonly #changes = new Listeners<readonly string[]>();
  readonly #states = new Listeners<RulesetState>();
  readonly #stopped = new AbortController();
  #flags: ReadonlyMap<string, CompiledFlag> = new Map();
  #sorted: readonly CompiledFlag[] | null = null;
  #head: StoreHead | null = null;
  #contactMs: number | null = null;
  #refreshing: Promise<void> | null = null;
  #again = false;
  #unsubscribe: () => void = () => undefined;
  #polling: Promise<void> = Promise.resolve();
  #failing = false;
  #toldState: RulesetState = 'empty';
  #emptied = false;
  #fallbacks = 0;

  constructor(options: RulesetOptions) {
    this.#source = options.source;
    this.#logger = options.logger;
    this.#pollMs = options.pollMs ?? FlagDefaults.pollMs;
    this.#staleMs = options.staleMs ?? FlagDefaults.staleMs;
    this.#monotonic = options.monotonic ?? (() => performance.now());
  }

  /** Where the source stood when it was last heard of; null before the first time. */
  get head(): StoreHead | null {
    return this.#head;
  }

  /** Since the source was last heard of, milliseconds; null before the first time. */
  get ageMs(): number | null {
    return this.#contactMs === null ? null : this.#monotonic() - this.#contactMs;
  }

  get state(): RulesetState {
    const age = this.ageMs;
    return age === null ? 'empty' : age > this.#staleMs ? 'stale' : 'fresh';
  }

  /** Answers that were off because nothing was known at all. */
  get fallbacks(): number {
    return this.#fallbacks;
  }

  get size(): number {
    return this.#flags.size;
  }

  flag(name: string): CompiledFlag | undefined {
    return this.#flags.get(name);
  }

  /** By name. */
  flags(): readonly CompiledFlag[] {
    this.#sorted ??= [...this.#flags.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return this.#sorted;
  }

  /** Counts an answer that had to be the default, and says so at the 1st, 2nd, 4th, 8th … time. */
  noteFallback(flag: string): void {
    this.#fallbacks += 1;
    if (!Number.isInteger(Math.log2(this.#fallbacks))) return;
    this.#logger.warn('no flags were loaded yet, so a flag is answered with its default', {
      flag,
      fallbacks: this.#fallbacks,
    });
  }

  /** Calls back after every change, with the names of the flags that are new, other than before, or gone. */
  onChange(listener: (flags: readonly string[]) => void): () => void {
    return this.#changes.add(listener);
  }

  /** Calls back when the state has become another; that it is stale is seen at the next look that fails. */
  onState(listener: (state: RulesetState) => void): () => void {
    return this.#states.add(listener);
  }

  /** Begins to follow. Resolves with the first load, or after `patienceMs` without it; goes on trying either way. */
  async start(patienceMs: number): Promise<void> {
    this.#unsubscribe = this.#source.subscribe(() => void this.refresh());
    const patience = new AbortController();
    const loaded = this.#load(patience.signal);
    this.#polling = this.#poll();
    try {
      await Promise.race([loaded, delay(patienceMs, undefined, { signal: patience.signal }).catch(() => undefined)]);
    } finally {
      patience.abort();
    }
  }

  async #load(signal: AbortSignal): Promise<void> {
    await this.refresh();
    // A source that is only just connecting refuses at once and answers a moment later.
    while (this.#head === null && !signal.aborted && !this.#stopped.signal.aborted) {
      await delay(20);
      await this.refresh();
    }
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopped.abort();
    await this.#polling;
    await this.#refreshing;
  }

  /** Looks for changes now; one look at a time, and one more when something happened meanwhile. Never throws. */
  refresh(): Promise<void> {
    if (this.#refreshing !== null) {
      this.#again = true;
      return this.#refreshing;
    }
    this.#refreshing = this.#refresh().finally(() => {
      this.#refreshing = null;
      this.#tellState();
    });
    return this.#refreshing;
  }

  /** Looks until it has what was written with this revision, so that who writes sees it next; or until the source fails. */
  async catchUp(revision: number): Promise<void> {
    for (let looks = 0; looks < CATCH_UP_LOOKS && (this.#head?.revision ?? 0) < revision; looks += 1) {
      await this.refresh();
      if (this.#failing) return;
    }
  }

  async #refresh(): Promise<void> {
    do {
      this.#again = false;
      try {
        await this.#look();
        if (this.#failing) this.#logger.info('the flag store answers again', { revision: this.#head?.revision ?? 0 });
        this.#failing = false;
      } catch (error) {
        if (!this.#failing && !this.#stopped.signal.aborted) {
          this.#logger.warn('the flag store does not answer; flags are answered as they were last known', {
            error: messageOf(error),
            loaded: this.#head !== null,
          });
        }
        this.#failing = true;
        return;
      }
    } while (this.#again && !this.#stopped.signal.aborted);
  }

  async #look(): Promise<void> {
    const known = this.#head;
    const head = await this.#source.head();
    if (known !== null && known.incarnation === head.incarnation && known.revision === head.revision) {
      this.#contactMs = this.#monotonic();
      return;
    }
    if (known !== null && known.revision > 0 && head.revision === 0) {
      // Nobody deleted the flags one by one: the data is gone, and that is no reason to switch everything off.
      if (!this.#emptied) {
        this.#logger.error('the flag store lost its data; flags are answered as they were last known', { ...known });
      }
      this.#emptied = true;
      return;
    }
    this.#emptied = false;
    const told: CompiledFlag[] = [];
    const changes = await this.#source.changes(known, (flag) => told.push(compileFlag(flag)));
    if (known !== null && known.incarnation === changes.head.incarnation && known.revision > changes.head.revision) {
      // An older dump, or a replica that lagged. What it has counts: it is what everybody reads and writes from here on.
      this.#logger.error('the flag store came back with less than it had; flags are answered as it has them now', {
        ...changes.head,
        known: known.revision,
      });
    }
    const before = this.#flags;
    const flags = new Map(changes.complete ? [] : before);
    for (const name of changes.deleted) flags.delete(name);
    for (const flag of told) flags.set(flag.name, flag);
    this.#flags = flags;
    this.#sorted = null;
    this.#head = changes.head;
    this.#contactMs = this.#monotonic();
    this.#changes.tell([
      ...told.filter(({ name, revision }) => before.get(name)?.revision !== revision).map(({ name }) => name),
      ...[...before.keys()].filter((name) => !flags.has(name)),
    ]);
  }

  #tellState(): void {
    const { state } = this;
    if (state === this.#toldState) return;
    this.#toldState = state;
    this.#states.tell(state);
  }

  async #poll(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      // Spread, so that many processes do not ask all at once.
      await delay(this.#pollMs * (0.8 + 0.4 * Math.random()), undefined, { signal, ref: false }).catch(() => undefined);
      if (!signal.aborted) await this.refresh();
    }
  }
}
