import type { CompiledFlag } from '../evaluate';
import type { FlagLogger } from '../logger';
import { countOutcomes, OutcomeRecorder } from '../outcome-recorder';
import type { SidedOutcome } from '../outcome-recorder';
import type { FlagStore } from '../store';
import type { FlagServiceClient } from './flag-service-client';
import { OutcomeReporter } from './outcome-reporter';

/** One outcome of a flag that is known, and on which side it is. */
export interface TakenOutcome extends SidedOutcome {
  readonly flag: CompiledFlag;
  readonly environment: string;
  readonly userId: string | null;
}

/** Where the outcomes of this process go. */
export interface OutcomeSink {
  /** Never throws, never waits. False when it cannot be taken. */
  take(outcome: TakenOutcome): boolean;
  /** Those that were taken, and could not be handed on. */
  readonly lost: number;
  close(): Promise<void>;
}

export function outcomesIntoStore(store: FlagStore, logger: FlagLogger): OutcomeSink {
  const recorder = new OutcomeRecorder({ store, logger });
  return {
    take: ({ flag, environment, ...outcome }) =>
      recorder.add({ flag: flag.name, createdAt: flag.createdAt, environment, ...countOutcomes([outcome]) }),
    lost: 0,
    close: () => recorder.close(),
  };
}

export function outcomesToService(service: Pick<FlagServiceClient, 'postOutcomes'>, logger: FlagLogger): OutcomeSink {
  const reporters = new Map<string, OutcomeReporter>();
  const reporterOf = (environment: string): OutcomeReporter => {
    const known = reporters.get(environment);
    if (known !== undefined) return known;
    const reporter = new OutcomeReporter({ service, environment, logger });
    reporters.set(environment, reporter);
    return reporter;
  };
  return {
    take: ({ flag, environment, userId, side, ok, latencyMs }) => {
      // A flag with the same variant on both sides cannot be told apart by it: there the service goes by the user.
      const variant = side === 'enabled' ? flag.on.name : flag.off.name;
      reporterOf(environment).report(flag.name, {
        ...(userId === null ? {} : { userId }),
        ...(flag.on.name === flag.off.name ? {} : { variant }),
        ok,
        ...(latencyMs === null ? {} : { latencyMs }),
      });
      return true;
    },
    get lost() {
      return [...reporters.values()].reduce((sum, reporter) => sum + reporter.lost, 0);
    },
    close: async () => {
      await Promise.all([...reporters.values()].map((reporter) => reporter.close()));
    },
  };
}
