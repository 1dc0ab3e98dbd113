import { environmentOf, may, requireSight } from './access';
import type { Principal } from './access';
import type { OutcomesAccepted, OutcomesAnswer } from './answers';
import { OUTCOME_BOUNDS_MS } from './defaults';
import { evaluateFlag } from './evaluate';
import type { CompiledFlag } from './evaluate';
import type { PostOutcomes } from './flag';
import { checkedName, flagNotFound, idempotencyOf, requireSameRequest } from './flag-service';
import type { FlagService, WriteRequest } from './flag-service';
import { countOutcomes } from './outcome-recorder';
import type { OutcomeRecorder, SidedOutcome } from './outcome-recorder';
import { cumulative, NO_SIDES } from './outcomes';
import type { OutcomeCounts, Side, SideCounts } from './outcomes';
import { FlagProblem } from './problem';
import type { ProblemField } from './problem';
import type { Ruleset } from './ruleset';
import type { FlagStore } from './store';

export interface OutcomeServiceOptions {
  readonly service: FlagService;
  readonly ruleset: Ruleset;
  readonly store: FlagStore;
  readonly recorder: OutcomeRecorder;
  /** Of a request that names none. */
  readonly environment: string;
}

type Posted = PostOutcomes['outcomes'][number];

/** Takes outcomes of a flag's users and tells what they come to. */
export class OutcomeService {
  readonly #parts: OutcomeServiceOptions;

  constructor(parts: OutcomeServiceOptions) {
    this.#parts = parts;
  }

  /**
   * Counts a request's outcomes, all or none. With an Idempotency-Key they are in the store before the answer, because
   * only there a repeat is known as one; without, they are buffered.
   */
  async post(
    request: WriteRequest,
    name: string,
    { environment: named, outcomes }: PostOutcomes,
  ): Promise<OutcomesAccepted & { readonly replayed: boolean }> {
    const { ruleset, store, recorder, environment: byDefault } = this.#parts;
    const { principal } = request;
    const environment = environmentOf(principal, named, byDefault);
    if (!may(principal, 'report', environment)) {
      throw new FlagProblem('forbidden', `${principal.id} may not report outcomes in ${environment}.`);
    }
    const flag = ruleset.flag(checkedName(name));
    if (flag === undefined) {
      if (ruleset.state === 'empty') throw new FlagProblem('store-unavailable', 'No flags could be loaded yet.');
      throw flagNotFound(name);
    }
    requireSight(principal, flag);
    const delta = { flag: name, environment, ...countOutcomes(sided(flag, environment, outcomes)) };
    const accepted = { flag: name, environment, accepted: outcomes.length };
    const idempotency = idempotencyOf(request, 202);
    if (idempotency === null) {
      // It is written later, when another flag may have the name.
      if (recorder.add({ ...delta, createdAt: flag.createdAt })) return { ...accepted, replayed: false };
      throw new FlagProblem('store-unavailable', 'The flag store is away, and no more outcomes can be kept for it.');
    }
    const added = await store.addOutcomes(delta, idempotency);
    switch (added.kind) {
      case 'added':
        return { ...accepted, replayed: false };
      case 'unknown':
        throw flagNotFound(name);
      case 'repeated':
        requireSameRequest(request, added.remembered);
        return { ...accepted, replayed: true };
      default:
        return added satisfies never;
    }
  }

  async read(
    principal: Principal,
    name: string,
    { environment: named, window: seconds }: { readonly environment?: string | undefined; readonly window: number },
  ): Promise<OutcomesAnswer> {
    const { service, store, recorder, environment: byDefault } = this.#parts;
    const environment = environmentOf(principal, named, byDefault);
    await service.get(principal, name);
    // What this process counted and has not yet handed on.
    await recorder.flush();
    const found = await store.outcomes({ flag: name, environment, windowMs: seconds * 1000 });
    return {
      flag: name,
      environment,
      counters: found?.counters ?? null,
      since: found?.since ?? null,
      bounds_ms: [...OUTCOME_BOUNDS_MS],
      ...presented(found ?? NO_SIDES),
      window: { seconds, ...presented(found?.recent ?? NO_SIDES) },
    };
  }
}

/** On which side each outcome is; refuses all of them when one names a variant that the flag has not. */
function sided(flag: CompiledFlag, environment: string, outcomes: readonly Posted[]): SidedOutcome[] {
  const errors: ProblemField[] = [];
  const found = outcomes.flatMap((posted, index): SidedOutcome[] => {
    const side = sideOf(flag, environment, posted);
    if (side !== null) return [{ side, ok: posted.ok, latencyMs: posted.latency_ms ?? null }];
    const variants = [...new Set([flag.on.name, flag.off.name])].join(' and ');
    const message =
      posted.variant === undefined || flag.on.name === flag.off.name
        ? `without a user nobody knows whether ${flag.name} was on`
        : `${flag.name} answers the variants ${variants}, and not ${JSON.stringify(posted.variant)}`;
    errors.push({ where: `/outcomes/${index}/variant`, message });
    return [];
  });
  const [first] = errors;
  if (first === undefined) return found;
  const more = errors.length === 1 ? '' : ` (and ${errors.length - 1} more)`;
  throw new FlagProblem('invalid-request', `The body is not valid: ${first.where}: ${first.message}${more}.`, {
    errors: errors.slice(0, 20),
  });
}

/** By the variant that the client names, else by what the flag answers now. */
function sideOf(flag: CompiledFlag, environment: string, { variant, user_id: user }: Posted): Side | null {
  // A flag with the same variant on both sides cannot be told apart by it.
  if (variant !== undefined && flag.on.name !== flag.off.name) {
    return variant === flag.on.name ? 'enabled' : variant === flag.off.name ? 'disabled' : null;
  }
  const evaluation = evaluateFlag(flag, { userId: user ?? null, environment });
  if (evaluation.rule === 'user-missing') return null;
  return evaluation.enabled ? 'enabled' : 'disabled';
}

function presented({ enabled, disabled }: SideCounts): Pick<OutcomesAnswer, 'enabled' | 'disabled'> {
  const shown = (counts: OutcomeCounts): OutcomesAnswer['enabled'] => ({
    total: counts.total,
    failed: counts.failed,
    latency: cumulative(counts),
  });
  return { enabled: shown(enabled), disabled: shown(disabled) };
}
