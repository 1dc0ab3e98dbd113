import { ApplicationFailure } from '@temporalio/common';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { MeasureInput, MeasureResult, ReleaseActivities } from '../../src/workflows/activity-types';
import type { Fence, Measurement } from '../../src/workflows/api';
import type { Verdict } from '../../src/analysis/verdict';

export type ActivityName = keyof ReleaseActivities;

/** What a test plugs into an activity: runs before the faithful part; throwing is the fault. */
export type Hook = (input: unknown, call: number) => void | Promise<void>;

export interface Write {
  readonly activity: ActivityName;
  readonly fence: Fence;
  readonly weight: number;
}

/**
 * A target and a metric source in memory that keep the promises real ones keep: fenced writes, idempotent repeats,
 * a version that is stable and perhaps one that is the canary. Tests script verdicts and faults.
 */
export class FakeWorld {
  stable = 'v1';
  canary: string | null = null;
  weight = 0;
  fence: Fence | null = null;
  readonly writes: Write[] = [];
  readonly calls: { activity: ActivityName; input: unknown }[] = [];
  readonly hooks = new Map<ActivityName, Hook>();
  /** The verdict of each measurement; `pass` when it answers nothing. */
  verdict: (input: MeasureInput, call: number) => Verdict | undefined = () => undefined;
  guardTripped: string | null = null;
  foreignEdits: string[] = [];

  on(activity: ActivityName, hook: Hook): this {
    this.hooks.set(activity, hook);
    return this;
  }

  count(activity: ActivityName): number {
    return this.calls.filter((call) => call.activity === activity).length;
  }

  get weights(): number[] {
    return this.writes.map((write) => write.weight);
  }

  readonly activities: ReleaseActivities = {
    observe: (input) =>
      this.run('observe', input, () => ({
        stableVersion: this.stable,
        canaryVersion: this.canary,
        weight: this.weight,
      })),
    deploy: (input) =>
      this.run('deploy', input, () => {
        this.write('deploy', input.fence, () => {
          this.canary = input.version;
          this.weight = 0;
        });
        return { sentence: `${input.version} is ready beside ${this.stable}.` };
      }),
    smokeTest: (input) =>
      this.run('smokeTest', input, () => ({ sentence: `${input.version} answered the smoke test.` })),
    setWeight: (input) =>
      this.run('setWeight', input, () => {
        this.write('setWeight', input.fence, () => {
          this.weight = input.weight;
        });
        return { weight: input.weight, sentence: 'All of it.' };
      }),
    measure: (input) => this.run('measure', input, () => this.measured(input)),
    promote: (input) =>
      this.run('promote', input, () => {
        this.write('promote', input.fence, () => {
          this.stable = input.version;
          this.canary = null;
          this.weight = 0;
        });
        return { sentence: `${input.version} is the stable version.` };
      }),
    compensate: (input) =>
      this.run('compensate', input, () => {
        const { compensation } = input;
        this.write('compensate', input.fence, () => {
          if (compensation.op === 'restoreWeight') this.weight = compensation.weight;
          if (compensation.op === 'removeCanary') this.canary = null;
          if (compensation.op === 'restoreStable') this.stable = compensation.version;
        });
        return { sentence: `Done: ${compensation.op}.` };
      }),
    notifySlack: (input) => this.run('notifySlack', input, () => ({ channel: input.channel, ts: '1.1' })),
  };

  private async run<T>(activity: ActivityName, input: unknown, act: () => T): Promise<T> {
    this.calls.push({ activity, input });
    await this.hooks.get(activity)?.(input, this.count(activity));
    return act();
  }

  private write(activity: ActivityName, fence: Fence, change: () => void): void {
    const held = this.fence;
    if (held !== null && (held.epoch > fence.epoch || (held.epoch === fence.epoch && held.step > fence.step))) {
      throw failure(
        ACTIVITY_FAILURES.fenceLost,
        `step ${fence.step} of ${fence.release} comes after ${held.release} ${held.step}.`,
      );
    }
    this.fence = fence;
    change();
    this.writes.push({ activity, fence, weight: this.weight });
  }

  private measured(input: MeasureInput): MeasureResult {
    const verdict = this.verdict(input, this.count('measure')) ?? 'pass';
    const before = input.judge ?? {
      kind: 'threshold',
      measurements: 0,
      passed: 0,
      failed: 0,
      consecutiveErrors: 0,
      lastFailure: null,
    };
    const state = {
      ...before,
      measurements: before.measurements + 1,
      passed: before.passed + (verdict === 'pass' ? 1 : 0),
      failed: before.failed + (verdict === 'fail' ? 1 : 0),
      consecutiveErrors: verdict === 'error' ? before.consecutiveErrors + 1 : 0,
      lastFailure: verdict === 'fail' ? 'it failed' : before.lastFailure,
    };
    const measurement: Measurement = {
      at: input.at,
      step: input.step,
      weight: input.weight,
      observedShare: input.weight / 100,
      verdict,
      sentence: `It was ${verdict}.`,
      metrics: [],
    };
    const edits = this.foreignEdits;
    this.foreignEdits = [];
    return {
      measurement,
      judgement: {
        verdict,
        sentence: measurement.sentence,
        state,
        decision:
          verdict === 'fail'
            ? 'fail'
            : state.consecutiveErrors > input.analysis.consecutiveErrorLimit
              ? 'error'
              : 'continue',
        stepVerdict: verdict === 'pass' || state.passed === 0 ? verdict : 'pass',
        stepSentence: `${state.passed} of ${state.measurements} measurements passed.`,
      },
      foreignEdits: edits,
      guardTripped: this.guardTripped,
    };
  }
}

export function failure(type: string, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message });
}
