import { FlagServiceClient, FlagServiceError } from '../../flags/client/flag-service-client';
import { flagServiceOf } from '../../flags/client/service-of';
import type { FlagAnswer } from '../../flags/answers';
import type { FlagDocument } from '../../flags/flag';
import type { FlagTargetPlan } from '../../spec/plan-types';
import { FLAG_TRACKS } from '../../spec/presets';
import { TargetFailure } from '../target';
import type {
  Reassertion,
  Target,
  TargetFailureKind,
  TargetView,
  TargetWrite,
  WeightWrite,
  WriteFence,
} from '../target';

/** One answer comes from the service's memory, or from one write of its store. */
const TIMEOUT_MS = 5_000;

/**
 * A feature flag as a target: its percentage is the weight. What it was before the release is its stable version, and
 * where a roll back leads to; a weight below that would take users out who had the flag already, and is not written.
 * While the release holds the flag, the service refuses everybody else's percentage and variants, but never the switch, nor
 * that the flag is taken out of an environment: both are a hand that says stop. So is a flag that is gone, deleted before
 * it was held or lost by its store; it serves nobody, and nothing is to be taken back of it.
 *
 * Without an address the flag service of this machine is meant.
 *
 * @throws TargetFailure `invalidTarget` for an address that is none.
 */
export function createFlagTarget(
  plan: FlagTargetPlan,
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly timeoutMs?: number } = {},
): Target {
  const service = flagServiceOf(env, plan);
  if ('wrong' in service) {
    throw new TargetFailure(
      'invalidTarget',
      `The environment variable ${plan.urlEnv}, which should hold the flag service's address, is no address where the worker runs.`,
    );
  }
  return new FlagTarget(plan, new FlagServiceClient({ ...service, timeoutMs: options.timeoutMs ?? TIMEOUT_MS }));
}

/** A write of the percentage: null for what it was before the release. */
interface Change {
  readonly percentage: number | null;
  readonly hold: boolean;
}

interface Roll extends Change, Pick<TargetWrite, 'fence' | 'signal'> {
  /** Of the flag that was looked at; `*`: the fence alone says whether it may, as on the way back. */
  readonly revision: number | '*';
}

class FlagTarget implements Target {
  constructor(
    private readonly plan: FlagTargetPlan,
    private readonly service: FlagServiceClient,
  ) {}

  async observe({ version, signal }: { version: string; signal: AbortSignal }): Promise<TargetView> {
    const flag = await this.#look(signal);
    const now = percentageOf(flag);
    const before = flag.fence?.hold === true ? (flag.fence.former ?? 100) : now;
    // For everybody already: then there is nothing to release, unless its percentage reaches nobody.
    const done = before === 100;
    if (done) this.#refuseUnreachable(flag);
    return {
      stableVersion: done ? version : `${before} %`,
      canaryVersion: now > before ? version : null,
      weight: now,
      artifact: null,
    };
  }

  async deploy({ fence, signal }: TargetWrite): Promise<string> {
    const held = await this.#forward(() =>
      this.#lookAndRoll({ fence, signal }, (flag) => {
        this.#refuseUnreachable(flag);
        return { percentage: null, hold: true };
      }),
    );
    return `${this.#shown()} is held by this release, at ${percentageOf(held)} %.`;
  }

  smokeTest(): Promise<string> {
    return Promise.reject(
      new TargetFailure(
        'unsupported',
        'A flag has nothing of its own that a smoke test could ask; leave smokeTest out of the spec.',
      ),
    );
  }

  async setWeight({ weight, fence, signal }: WeightWrite & { previousWeight: number }): Promise<string> {
    if (weight === 0) {
      return this.#back(async () => {
        const now = await this.#roll({ percentage: null, hold: true, revision: '*', fence, signal });
        return `${this.#shown()} is at ${percentageOf(now)} %.`;
      });
    }
    const written = await this.#forward(() =>
      this.#lookAndRoll({ fence, signal }, (flag) => {
        this.#refuseUnreachable(flag);
        return { percentage: Math.max(weight, formerOf(flag, fence)), hold: true };
      }),
    );
    const now = percentageOf(written);
    const kept = now > weight ? ', which it had before: nobody is taken out' : '';
    return `${this.#shown()} is at ${now} %${kept}.`;
  }

  async reassert(write: WeightWrite): Promise<Reassertion> {
    try {
      return await this.#reassert(write);
    } catch (error) {
      if (!isGone(error)) throw error;
      return { foreignEdits: [], guardTripped: this.#gone(), unreachable: [], tracks: FLAG_TRACKS };
    }
  }

  async promote({ fence, signal }: TargetWrite): Promise<string> {
    await this.#forward(() =>
      this.#lookAndRoll({ fence, signal }, (flag) => {
        this.#refuseUnreachable(flag);
        return { percentage: 100, hold: false };
      }),
    );
    return `${this.#shown()} is on for everybody.`;
  }

  restoreStable({ fence, signal }: TargetWrite): Promise<string> {
    return this.#back(async () => {
      const now = await this.#roll({ percentage: null, hold: true, revision: '*', fence, signal });
      return `${this.#shown()} is at ${percentageOf(now)} % again.`;
    });
  }

  removeCanary(write: TargetWrite): Promise<string> {
    return this.#back(() => this.#letGo(write));
  }

  close(): void {
    // Holds no connection of its own.
  }

  async #reassert({ weight, fence, signal }: WeightWrite): Promise<Reassertion> {
    let flag: FlagDocument;
    try {
      flag = await this.#look(signal);
    } catch (error) {
      if (!(error instanceof TargetFailure) || error.kind !== 'unreachable') throw error;
      return { foreignEdits: [], guardTripped: null, unreachable: [error.message], tracks: FLAG_TRACKS };
    }
    const { fence: held } = flag;
    if (held !== null && held.owner !== fence.release && held.epoch >= fence.epoch) {
      throw new TargetFailure('fenceLost', `${this.#shown()} is held by release ${held.owner}, which came later.`);
    }
    const guardTripped = this.#stoppedByHand(flag);
    if (guardTripped !== null) {
      return { foreignEdits: [], guardTripped, unreachable: [], tracks: FLAG_TRACKS };
    }
    const wanted = Math.max(weight, formerOf(flag, fence));
    const now = percentageOf(flag);
    const isOurs = held?.owner === fence.release && held.hold;
    if (now === wanted && isOurs) return { foreignEdits: [], guardTripped: null, unreachable: [], tracks: FLAG_TRACKS };
    await this.#roll({ percentage: weight === 0 ? null : wanted, hold: true, revision: '*', fence, signal });
    const edit = isOurs
      ? `${this.#shown()} was at ${now} %; put back to ${wanted} %.`
      : `${this.#shown()} was not held by this release any more; it is again, at ${wanted} %.`;
    return { foreignEdits: [edit], guardTripped: null, unreachable: [], tracks: FLAG_TRACKS };
  }

  async #letGo({ fence, signal }: TargetWrite): Promise<string> {
    const { fence: held, revision } = await this.#look(signal);
    const release = { percentage: null, hold: false, fence, signal };
    if (held?.owner === fence.release) {
      const now = await this.#roll({ ...release, revision: '*' });
      return `${this.#shown()} is at ${percentageOf(now)} %, and held by no release any more.`;
    }
    if (held?.hold === true) return `${this.#shown()} is held by release ${held.owner}; nothing of this one is left.`;
    // Leaves the flag as it is, and the fence there, so that a late write of this release cannot hold it for ever.
    try {
      await this.#roll({ ...release, revision });
    } catch (error) {
      // Who may not write this flag has written nothing of it, and never will.
      if (!(error instanceof TargetFailure) || error.kind !== 'invalidTarget' || isGone(error)) throw error;
    }
    return `${this.#shown()} is held by no release; nothing of this one is left.`;
  }

  /** @throws TargetFailure `guardTripped` when the flag is gone: the release began with one that was there. */
  async #forward<T>(go: () => Promise<T>): Promise<T> {
    try {
      return await go();
    } catch (error) {
      if (!isGone(error)) throw error;
      throw new TargetFailure('guardTripped', this.#gone(), { cause: error });
    }
  }

  /** A flag that does not exist serves nobody: the way back is at its end. */
  async #back(go: () => Promise<string>): Promise<string> {
    try {
      return await go();
    } catch (error) {
      if (!isGone(error)) throw error;
      return `Nothing to take back: ${this.#shown()} does not exist any more.`;
    }
  }

  #gone(): string {
    return `${this.#shown()} does not exist any more, so there is nothing to release: it was deleted, or the flag service has lost it.`;
  }

  #look(signal: AbortSignal): Promise<FlagAnswer> {
    return this.#ask(() => this.service.get(this.plan.name, { signal }));
  }

  #roll(roll: Roll): Promise<FlagDocument> {
    return this.#ask(() => this.#send(roll));
  }

  #send({ percentage, hold, revision, fence, signal }: Roll): Promise<FlagDocument> {
    const { release: owner, epoch, step, attempt } = fence;
    const rollout = { percentage, fence: { owner, epoch, step, attempt, hold } };
    return this.service.setRollout(this.plan.name, rollout, { signal, revision });
  }

  /** A write of what a look says: where somebody else wrote in between, such as the switch, it is looked at again. */
  #lookAndRoll(
    write: Pick<TargetWrite, 'fence' | 'signal'>,
    change: (flag: FlagAnswer) => Change,
  ): Promise<FlagDocument> {
    return this.#ask(() =>
      this.service.changeFlag(this.plan.name, { signal: write.signal }, (flag) =>
        this.#send({ ...change(flag), ...write, revision: flag.revision }),
      ),
    );
  }

  async #ask<T>(ask: () => Promise<T>): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof FlagServiceError)) throw error;
      throw new TargetFailure(kindOf(error), `${this.#shown()}: ${error.message}`, { cause: error });
    }
  }

  #shown(): string {
    return `Flag ${this.plan.name}`;
  }

  /** Its percentage would reach nobody of those it is meant for. */
  #refuseUnreachable(flag: FlagDocument): void {
    const { name, environment } = this.plan;
    if (!flag.enabled) {
      throw new TargetFailure(
        'invalidTarget',
        `The flag ${name} is switched off, so its percentage reaches nobody; switch it on first: sluice flag set ${name} --on.`,
      );
    }
    if (isIn(flag, environment)) return;
    throw new TargetFailure(
      'invalidTarget',
      `The flag ${name} is never on in ${environment}; its environments are ${flag.environments.join(', ')}. Add ${environment} to them, or name one of them in the spec.`,
    );
  }

  /** The same while it is released, when only a hand can have done it; null: it reaches whom it is meant for. */
  #stoppedByHand(flag: FlagDocument): string | null {
    const { environment } = this.plan;
    if (!flag.enabled) return `${this.#shown()} was switched off by hand.`;
    if (isIn(flag, environment)) return null;
    return `${this.#shown()} was taken out of ${environment} by hand; its environments are ${flag.environments.join(', ')}.`;
  }
}

/** Whether it can be on there. */
function isIn({ environments }: FlagDocument, environment: string): boolean {
  return environments.length === 0 || environments.includes(environment);
}

function percentageOf({ rollout_percentage: percentage }: FlagDocument): number {
  return percentage ?? 100;
}

/** What a release found, percent; before its first write that is what is there. */
function formerOf(flag: FlagDocument, { release }: WriteFence): number {
  if (flag.fence?.owner === release) return flag.fence.former ?? 100;
  return percentageOf(flag);
}

/** By the flag service's own word: a 404 of anything else at its address says nothing about the flag. */
function isGone(error: unknown): boolean {
  return (
    error instanceof TargetFailure && error.cause instanceof FlagServiceError && error.cause.code === 'flag-not-found'
  );
}

function kindOf({ code, status }: FlagServiceError): TargetFailureKind {
  if (code === 'stale-fence') return 'fenceLost';
  // Nobody answers, others write it at this moment, or its store is away.
  if (status === null || status === 429 || status >= 500) return 'unreachable';
  if (code === 'busy' || code === 'precondition-failed') return 'unreachable';
  return 'invalidTarget';
}
