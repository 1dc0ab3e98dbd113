import { activityInfo, cancellationSignal, heartbeat } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';
import { askKayenta } from '../../src/activities/ask-kayenta';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { MeasureInput, MeasureResult, ReleaseActivities } from '../../src/workflows/activity-types';
import type { Compensation, Fence, Measurement } from '../../src/workflows/api';
import type { EvidenceState } from '../../src/analysis/gather-evidence';
import type { Sample } from '../../src/analysis/sample';
import { judge } from '../../src/analysis/threshold-judge';
import type { JudgePolicy, Verdict } from '../../src/analysis/verdict';
import { broken, errorRate, errorSample, events, noData, policyOf, sampleOf } from '../analysis/samples';

export type ActivityName = keyof ReleaseActivities;

/** What a test plugs into an activity: runs before the faithful part; throwing is the fault. */
export type Hook = (input: unknown, call: number) => void | Promise<void>;

/** Whose write an object has. */
interface Held {
  readonly fence: Fence;
  readonly attempt: number;
}

/** One change that landed, or one look that found nothing to change. */
export interface Write {
  readonly activity: ActivityName;
  readonly fence: Fence;
  readonly attempt: number;
  readonly before: number;
  readonly weight: number;
  /** It came after the attempt it belongs to had been given up. */
  readonly late: boolean;
}

/**
 * A target and a metric source in memory that keep the promises real ones keep: fenced writes, idempotent repeats,
 * a version that is stable and perhaps one that is the canary. Tests script verdicts and faults. It is also the
 * witness: what no target should ever be asked for is written down in `violations`.
 */
export class FakeWorld {
  stable = 'v1';
  /** False: there is no version yet. */
  serving = true;
  canary: string | null = null;
  weight = 0;
  /** Of a blue-green pair: the colour without users. */
  idle: 'blue' | 'green' | null = null;
  /** Why stable could not carry what the canary has; null where it could. */
  onlyCanary: string | null = null;
  /** What the target makes of weights that it cannot reach; null where it reaches all. */
  missed: string | null = null;
  /** As in Kubernetes: a promotion makes stable anew, and traffic and canary stay until they are told to go. */
  handsBack = false;
  /** As a blue-green target: a promotion makes nothing anew, and whichever version has no traffic is scaled down. */
  switches = false;
  held: Held | null = null;
  /** Of stable, which is an object of its own where a promotion makes it anew. */
  stableHeld: Held | null = null;
  readonly writes: Write[] = [];
  /** Writes that the fence kept out. */
  readonly refused: { activity: ActivityName; fence: Fence; late: boolean }[] = [];
  readonly calls: { activity: ActivityName; input: unknown }[] = [];
  readonly violations: string[] = [];
  /** The verdict of each measurement; `pass` when it answers nothing. */
  verdict: (input: MeasureInput, call: number) => Verdict | undefined = () => undefined;
  guardTripped: string | null = null;
  /** Whether the weight is delivered; nothing is looked at unless a test says so. */
  routing: (input: MeasureInput) => 'pass' | 'fail' | undefined = () => undefined;
  /** What is counted so far after a look; nothing is gathered unless a test says so. */
  gather: (input: MeasureInput) => EvidenceState | undefined = () => undefined;
  /** What the metric source's clock says at a look; it has none of its own unless a test says so. */
  sourceClock: (input: MeasureInput) => number | undefined = () => undefined;
  /** The values of the canary and of stable in a look; those of the verdict's sample unless a test says so. */
  values: (input: MeasureInput, call: number) => Readonly<Record<'canary' | 'stable', number | null>> | undefined =
    () => undefined;
  /** As an older worker, that knows nothing of Kayenta's judge. */
  withoutKayenta = false;
  /** Whether the canary is proven good enough. */
  enough: (input: MeasureInput) => boolean = () => false;
  /** Before a write, with what it is to change: for tests that look at the release at that moment. */
  beforeWrite: (activity: ActivityName, fence: Fence) => Promise<void> = () => Promise.resolve();
  readonly #hooks = new Map<ActivityName, Hook>();
  readonly #waiting: { activity: ActivityName; call: number; resolve: () => void }[] = [];
  readonly #late: (() => void)[] = [];
  /** What somebody else has changed, and each look finds and leaves. */
  readonly standing: string[] = [];
  readonly #hanging: (() => void)[] = [];
  #released = false;

  on(activity: ActivityName, hook: Hook): this {
    this.#hooks.set(activity, hook);
    return this;
  }

  /** Every call of the activity fails so; `calls` limits it to the first ones. */
  fail(activity: ActivityName, type: string, calls = Infinity): this {
    return this.on(activity, (_, call) => {
      if (call <= calls) throw failure(type, `${activity} failed on purpose`);
    });
  }

  /**
   * Every call hangs until its cancellation arrives or `release` is called, and then still does what it was asked:
   * the late write of a superseded attempt. `deaf` ones do not heartbeat and hear of no cancellation.
   */
  hang(activity: ActivityName, options: { deaf?: boolean; calls?: number } = {}): this {
    return this.on(activity, async (_, call) => {
      if (this.#released || call > (options.calls ?? Infinity)) return;
      await new Promise<void>((resolve) => {
        const beat = options.deaf === true ? undefined : setInterval(() => heartbeat(), 20);
        const end = (): void => {
          clearInterval(beat);
          resolve();
        };
        cancellationSignal().addEventListener('abort', end);
        this.#hanging.push(end);
      });
    });
  }

  /** Every call takes until `over` is, as one that is alive and well; `over` may throw what the call fails with. */
  last(activity: ActivityName, over: () => Promise<void>): this {
    return this.on(activity, async () => {
      const beat = setInterval(() => heartbeat(), 20);
      try {
        await over();
      } finally {
        clearInterval(beat);
      }
    });
  }

  /** Lets go of what hangs, which then does what it was asked; nothing hangs any more. */
  release(): void {
    this.#released = true;
    for (const end of this.#hanging.splice(0)) end();
  }

  count(activity: ActivityName): number {
    return this.calls.filter((call) => call.activity === activity).length;
  }

  /** Resolves when the activity is called for the n-th time. */
  begun(activity: ActivityName, call = 1): Promise<void> {
    if (this.count(activity) >= call) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ activity, call, resolve }));
  }

  /** Weights that the target was put to, one after the other. */
  get weights(): number[] {
    return this.writes.filter(({ activity }) => activity === 'setWeight').map(({ weight }) => weight);
  }

  /** The inverses that were run, in order. */
  get compensated(): string[] {
    return this.calls
      .filter(({ activity }) => activity === 'compensate')
      .map(({ input }) => (input as { compensation: { op: string } }).compensation.op);
  }

  get allOld(): boolean {
    return this.stable === 'v1' && this.canary === null && this.weight === 0;
  }

  get allNew(): boolean {
    return this.stable === 'v2' && this.canary === null && this.weight === 0;
  }

  /** Makes this attempt's write land later, at `landLateWrites`; the attempt itself fails as one that was lost. */
  postpone(activity: ActivityName, input: { fence: Fence }, change: () => void): never {
    const { attempt } = activityInfo();
    this.#late.push(() => {
      try {
        this.#write(activity, input, { attempt, change, late: true });
      } catch {
        // Refused by the fence, and written down there.
      }
    });
    throw failure('Lost', 'the answer was lost');
  }

  landLateWrites(): void {
    for (const land of this.#late.splice(0)) land();
  }

  readonly activities: ReleaseActivities = {
    observe: (input) =>
      this.#run('observe', input, () => ({
        stableVersion: this.serving ? this.stable : null,
        canaryVersion: this.canary,
        weight: this.weight,
        artifact: null,
        ...(this.idle === null ? {} : { idle: this.idle }),
        ...(this.onlyCanary === null ? {} : { onlyCanary: this.onlyCanary }),
        ...(this.missed === null ? {} : { missed: this.missed }),
      })),
    deploy: (input) =>
      this.#run('deploy', input, async () => {
        await this.#fenced('deploy', input, this.changeOf('deploy', input));
        return { sentence: `${input.version} is ready beside ${this.stable}.` };
      }),
    smokeTest: (input) =>
      this.#run('smokeTest', input, () => ({ sentence: `${input.version} answered the smoke test.` })),
    setWeight: (input) =>
      this.#run('setWeight', input, async () => {
        await this.#fenced('setWeight', input, this.changeOf('setWeight', input));
        return { weight: input.weight, sentence: 'All of it.' };
      }),
    measure: (input) => this.#run('measure', input, () => this.#measured(input)),
    promote: (input) =>
      this.#run('promote', input, async () => {
        await this.#fenced('promote', input, this.changeOf('promote', input));
        return { sentence: `${input.version} is the stable version.` };
      }),
    compensate: (input) =>
      this.#run('compensate', input, async () => {
        await this.#fenced('compensate', input, this.changeOf('compensate', input));
        return { sentence: `Done: ${input.compensation.op}.` };
      }),
    notifySlack: (input) => this.#run('notifySlack', input, () => ({ channel: input.channel, ts: '1.1' })),
  };

  /** What an activity changes, as a function that does it; tests use it to land a write late. */
  changeOf<Name extends 'deploy' | 'setWeight' | 'promote' | 'compensate'>(
    activity: Name,
    input: Parameters<ReleaseActivities[Name]>[0],
  ): () => void {
    const asked: unknown = input;
    switch (activity) {
      case 'deploy':
        return () => {
          this.canary = (asked as Parameters<ReleaseActivities['deploy']>[0]).version;
          this.weight = 0;
        };
      case 'setWeight':
        return () => {
          const { weight, version } = asked as Parameters<ReleaseActivities['setWeight']>[0];
          if (weight > 0 && this.canary !== version) this.violations.push(`weight ${weight} without a canary`);
          this.weight = weight;
        };
      case 'promote':
        return () => {
          const { version } = asked as Parameters<ReleaseActivities['promote']>[0];
          // A repeat changes nothing.
          if (this.stable === version) return;
          if (this.weight < 100) this.violations.push(`promoted at weight ${this.weight}`);
          if (this.switches) return;
          this.stable = version;
          if (this.handsBack) return;
          this.canary = null;
          this.weight = 0;
        };
      default:
        return () => {
          const { compensation } = asked as Parameters<ReleaseActivities['compensate']>[0];
          if (compensation.op === 'restoreWeight') this.weight = compensation.weight;
          if (compensation.op === 'restoreStable') {
            if (this.#leavesToCanary(compensation)) this.weight = 100;
            this.stable = compensation.version;
          }
          if (compensation.op === 'removeCanary' && this.switches) {
            if (this.weight === 100) this.stable = this.canary ?? this.stable;
            else if (this.weight > 0) this.violations.push(`pods taken at weight ${this.weight}`);
            this.weight = 0;
            this.canary = null;
          } else if (compensation.op === 'removeCanary') {
            if (this.weight > 0) this.violations.push(`canary removed at weight ${this.weight}`);
            this.canary = null;
          }
        };
    }
  }

  async #run<T>(activity: ActivityName, input: unknown, act: () => T | Promise<T>): Promise<T> {
    this.calls.push({ activity, input });
    const call = this.count(activity);
    for (const waiting of this.#waiting) if (waiting.activity === activity && waiting.call <= call) waiting.resolve();
    await this.#hooks.get(activity)?.(input, call);
    return act();
  }

  async #fenced(activity: ActivityName, input: { fence: Fence }, change: () => void): Promise<void> {
    await this.beforeWrite(activity, input.fence);
    this.#write(activity, input, { attempt: activityInfo().attempt, change, late: false });
  }

  #write(
    activity: ActivityName,
    input: { fence: Fence },
    { attempt, change, late }: { attempt: number; change: () => void; late: boolean },
  ): void {
    const { fence } = input;
    const write = { activity, fence, attempt, late };
    const toStable = this.handsBack && (activity === 'promote' || opOf(input) === 'restoreStable');
    const { compensation } = input as { compensation?: Compensation };
    const toTraffic = !toStable || (compensation !== undefined && this.#leavesToCanary(compensation));
    // A promotion writes nothing to the traffic, but is too late where a later write has it.
    if (toTraffic || activity === 'promote') this.#check(write, this.held);
    if (toStable) this.#check(write, this.stableHeld);
    if (toStable) this.stableHeld = { fence, attempt };
    if (toTraffic) this.held = { fence, attempt };
    const before = this.weight;
    change();
    this.writes.push({ ...write, before, weight: this.weight });
  }

  /** What a promotion made of stable is taken back with all of the traffic on the proven canary. */
  #leavesToCanary(compensation: Compensation): boolean {
    if (compensation.op !== 'restoreStable') return false;
    return this.handsBack && this.canary !== null && this.stable !== compensation.version;
  }

  /** Compared by epoch, then step, then attempt. */
  #check(write: Pick<Write, 'activity' | 'fence' | 'attempt' | 'late'>, by: Held | null): void {
    if (by === null) return;
    const { activity, fence, attempt, late } = write;
    const { fence: held } = by;
    const order = held.epoch - fence.epoch || held.step - fence.step || by.attempt - attempt;
    if (order <= 0) return;
    this.refused.push({ activity, fence, late });
    throw failure(
      ACTIVITY_FAILURES.fenceLost,
      `step ${fence.step} of ${fence.release} comes after ${held.release} ${held.step}.`,
    );
  }

  #measured(input: MeasureInput): MeasureResult {
    const { attempt } = activityInfo();
    const foreignEdits: string[] = [];
    if (input.reassert !== false)
      this.#check({ activity: 'measure', fence: input.fence, attempt, late: false }, this.held);
    if (input.reassert !== false && this.weight !== input.weight && this.guardTripped === null) {
      foreignEdits.push(`It was at ${this.weight} %; put back to ${input.weight} %.`);
      this.#write('measure', input, { attempt, change: () => (this.weight = input.weight), late: false });
    }
    const verdict = this.verdict(input, this.count('measure')) ?? 'pass';
    const { metrics, ...judgement } = judge(policyFor(verdict, input.analysis), input.judge, SAMPLES[verdict]);
    // What the test scripted is what the judge makes of it: else the sample is not what it is named after.
    if (judgement.verdict !== verdict) this.violations.push(`${verdict} was judged as ${judgement.verdict}`);
    const look = metrics.map((metric) => ({ ...metric, ...this.values(input, this.count('measure')) }));
    const measurement: Measurement = {
      at: input.at,
      step: input.step,
      weight: input.weight,
      observedShare: input.weight / 100,
      verdict: judgement.verdict,
      sentence: judgement.sentence,
      metrics: look,
      ...this.#routed(input),
      ...(this.withoutKayenta ? {} : askKayenta(input, look)),
    };
    const evidence = this.gather(input);
    const sourceClock = this.sourceClock(input);
    return {
      measurement,
      judgement: this.enough(input) ? { ...judgement, enough: true } : judgement,
      ...(evidence === undefined ? {} : { evidence }),
      ...(sourceClock === undefined ? {} : { sourceClock }),
      foreignEdits,
      ...(this.standing.length === 0 ? {} : { standing: [...this.standing] }),
      guardTripped: this.guardTripped,
    };
  }

  #routed(input: MeasureInput): Pick<Measurement, 'routing'> {
    const verdict = this.routing(input);
    if (verdict === undefined) return {};
    const counts = { delivered: 0, canary: 0, stable: 1000 };
    const sentence = verdict === 'fail' ? 'The weight is not delivered.' : 'The weight is delivered.';
    const highest = Math.max(input.routing?.highest ?? 0, verdict === 'fail' ? 100 : 1);
    return { routing: { verdict, asked: input.weight / 100, ...counts, sentence, query: 'routed', highest } };
  }
}

/** Which inverse is asked for; undefined of what is none. */
function opOf(input: unknown): string | undefined {
  return (input as { compensation?: { op: string } }).compensation?.op;
}

const ERROR_RATE = errorRate({ max: 0.05 });

/** What the one metric shows, for each verdict that a test may want of the real judge. */
const SAMPLES: Record<Verdict, Sample> = {
  pass: errorSample(events(0, 1000), events(0, 1000)),
  fail: errorSample(events(500, 1000), events(0, 1000)),
  'insufficient-data': errorSample(noData(), noData()),
  // Nothing is analysed; `policyFor` sees to it.
  inconclusive: sampleOf(),
  error: errorSample(broken(), broken()),
};

function policyFor(verdict: Verdict, analysis: MeasureInput['analysis']): JudgePolicy {
  const { minMeasurements, minRequests, failureLimit, consecutiveErrorLimit } = analysis;
  const limits = { minMeasurements, minRequests, failureLimit, consecutiveErrorLimit };
  return policyOf(verdict === 'inconclusive' ? [] : [ERROR_RATE], limits);
}

export function failure(type: string, message: string): ApplicationFailure {
  return ApplicationFailure.create({ type, message });
}
