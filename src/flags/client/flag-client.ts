import { FlagChecks } from '../checks';
import type { Checked } from '../checks';
import { FlagDefaults } from '../defaults';
import { evaluateFlag } from '../evaluate';
import type { CompiledFlag } from '../evaluate';
import { isUserId } from '../flag';
import { consoleFlagLogger } from '../logger';
import type { FlagLogger } from '../logger';
import type { Side } from '../outcomes';
import { Ruleset } from '../ruleset';
import type { RulesetState } from '../ruleset';
import type { FlagStore } from '../store';
import { UsageRecorder } from '../usage';
import { FlagServiceClient } from './flag-service-client';
import type { FlagServiceClientOptions } from './flag-service-client';
import { outcomesIntoStore, outcomesToService } from './outcome-sink';
import type { OutcomeSink } from './outcome-sink';
import { ServiceFlagSource } from './service-source';

export type FlagClientOptions = FlagClientCommonOptions & (FlagsFromStore | FlagsFromService);

/** Follows the store that the flag service has, too. */
export interface FlagsFromStore {
  /** Closed with the client. */
  readonly store: FlagStore;
  readonly service?: never;
  /** Whether checks count as usage; default true. */
  readonly usage?: boolean;
}

/** Follows a flag service, where the store cannot be reached. What is asked here is not counted as usage then. */
export interface FlagsFromService {
  /** Its address, and a key that may read; and report, where outcomes are. */
  readonly service: Pick<FlagServiceClientOptions, 'url' | 'apiKey'>;
  readonly store?: never;
  readonly usage?: never;
}

export interface FlagClientCommonOptions {
  /** The environment of questions that name none; default production. */
  readonly environment?: string;
  /** Default: one JSON object a line on stderr. */
  readonly logger?: FlagLogger;
  /** How long `createFlagClient` waits for the flags, milliseconds; default 3 s. */
  readonly patienceMs?: number;
  /** Without contact to the store or the service for so long the flags are called stale, milliseconds; default 5 minutes. */
  readonly staleMs?: number;
}

/** How it went for a user of a flag. */
export interface ReportedOutcome {
  readonly userId: string | null | undefined;
  readonly ok: boolean;
  /** Milliseconds. */
  readonly latencyMs?: number;
  /** What the flag had answered; left out: what it answers this user now, which is another when it has changed meanwhile. */
  readonly enabled?: boolean;
}

/** Flags in this process: asked without a network, kept up in the background. */
export interface FlagClient {
  /**
   * Whether a flag is on for a user. Off for a flag that is not there, and while nothing could be loaded; a percentage
   * without a user is off, too. What the service takes for no user's id (an empty text, one with control characters or of
   * more than 256) is no user here either. Never throws, never waits.
   */
  isEnabled(flag: string, userId: string | null | undefined, environment?: string): boolean;
  /** The whole answer. */
  check(flag: string, userId: string | null | undefined, environment?: string): Checked;
  /**
   * The share of users for whom a flag is on, as far as it is a matter of percent: 0 of a flag that is not there, as
   * `isEnabled` has it; null while nothing could be loaded.
   */
  percentage(flag: string, environment?: string): number | null;
  /**
   * Counts how it went for a user of a flag, for a release that is judged by outcomes. Never throws, never waits: written
   * to the store, or posted to the service, within a second and at a close.
   */
  reportOutcome(flag: string, outcome: ReportedOutcome, environment?: string): void;
  /**
   * Outcomes that could not be counted: of a flag that is not known, of nobody where the answer depends on the user, or
   * without a possible latency; and those that a service refused, or that could not be posted to it.
   */
  readonly lostOutcomes: number;
  /** How good what is known is. */
  readonly state: RulesetState;
  /** Since the store or the service was last heard of, milliseconds; null before the first time. */
  readonly ageMs: number | null;
  /** Calls back after every change, with the names of the flags. Returns how to stop it. */
  onChange(listener: (flags: readonly string[]) => void): () => void;
  /** Calls back when `state` has become another. Returns how to stop it. */
  onState(listener: (state: RulesetState) => void): () => void;
  /** Answers that were off because nothing could be loaded yet. */
  readonly fallbacks: number;
  /** Writes the last usage and the last outcomes, and closes the store. */
  close(): Promise<void>;
}

/** Loads the flags and follows them. Resolves without them when the store does not answer in time; it goes on trying. */
export async function createFlagClient(options: FlagClientOptions): Promise<FlagClient> {
  const { store, logger = consoleFlagLogger, environment = FlagDefaults.environment } = options;
  const { ruleset, outcomes } = connect(options, logger);
  const usage = store === undefined || options.usage === false ? null : new UsageRecorder({ store, logger });
  const checks = new FlagChecks(ruleset, usage);
  let lostOutcomes = 0;
  await ruleset.start(options.patienceMs ?? FlagDefaults.startPatienceMs);
  const check = (flag: string, userId: string | null | undefined, named: string = environment): Checked =>
    checks.check(flag, { userId: userOf(userId), environment: named });
  return {
    check,
    isEnabled: (flag, userId, named) => {
      const checked = check(flag, userId, named);
      return checked.kind === 'answered' && checked.evaluation.enabled;
    },
    percentage: (name, named = environment) => {
      const flag = ruleset.flag(name);
      if (flag === undefined) return ruleset.state === 'empty' ? null : 0;
      const on = flag.enabled && (flag.environments === null || flag.environments.has(named));
      return on ? (flag.percentage ?? 100) : 0;
    },
    reportOutcome: (name, { userId: reported, ok, latencyMs = null, enabled }, named = environment) => {
      const userId = userOf(reported);
      const isLatency = latencyMs === null || (latencyMs >= 0 && latencyMs <= FlagDefaults.maxLatencyMs);
      const flag = ruleset.flag(name);
      const side = flag === undefined ? null : sideOf(flag, { userId, enabled, environment: named });
      const isTaken =
        isLatency &&
        flag !== undefined &&
        side !== null &&
        outcomes.take({ flag, environment: named, userId, side, ok, latencyMs });
      if (!isTaken) lostOutcomes += 1;
    },
    get lostOutcomes() {
      return lostOutcomes + outcomes.lost;
    },
    get state() {
      return ruleset.state;
    },
    get ageMs() {
      return ruleset.ageMs;
    },
    get fallbacks() {
      return ruleset.fallbacks;
    },
    onChange: (listener) => ruleset.onChange(listener),
    onState: (listener) => ruleset.onState(listener),
    close: async () => {
      await ruleset.stop();
      await usage?.close();
      await outcomes.close();
      await store?.close();
    },
  };
}

/** Who asks, if it can be anybody: the service would not have hashed it, and both give one answer. */
function userOf(userId: unknown): string | null {
  return isUserId(userId) ? userId : null;
}

/** null: not known. */
function sideOf(
  flag: CompiledFlag,
  { enabled, ...subject }: { userId: string | null; enabled: boolean | undefined; environment: string },
): Side | null {
  if (enabled !== undefined) return enabled ? 'enabled' : 'disabled';
  const evaluation = evaluateFlag(flag, subject);
  if (evaluation.rule === 'user-missing') return null;
  return evaluation.enabled ? 'enabled' : 'disabled';
}

/** What the flags come from, and where outcomes go: the same store or service. */
function connect(
  { store, service: address, staleMs }: FlagClientOptions,
  logger: FlagLogger,
): { readonly ruleset: Ruleset; readonly outcomes: OutcomeSink } {
  const common = { logger, ...(staleMs === undefined ? {} : { staleMs }) };
  if (address === undefined) {
    return { ruleset: new Ruleset({ ...common, source: store }), outcomes: outcomesIntoStore(store, logger) };
  }
  const service = new FlagServiceClient({ ...address, timeoutMs: FlagDefaults.serviceTimeoutMs });
  const source = new ServiceFlagSource({ service, logger });
  return {
    ruleset: new Ruleset({ ...common, source, pollMs: FlagDefaults.servicePollMs }),
    outcomes: outcomesToService(service, logger),
  };
}
