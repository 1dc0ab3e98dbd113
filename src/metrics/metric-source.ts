import type { CountCursor, Counted } from '../analysis/counts';
import type { Sample } from '../analysis/sample';
import type { MetricPlan } from '../spec/plan-types';

/** Where measurements come from. */
export interface MetricSource {
  /**
   * Every metric of both tracks at one time. Never throws for a backend's fault: that is a `problem` of kind `error`
   * on the observation, so that one broken query does not hide the others. Throws only for what no retry mends.
   */
  sample(request: SampleRequest): Promise<Sample>;
  /** What both tracks were sent since the weight changed. Throws as `sample` does. */
  routed(request: RoutedRequest): Promise<Routed>;
  /**
   * What happened since each metric was last counted, as whole events. One answer for each metric that has counters,
   * in their order; throws as `sample` does.
   */
  count(request: CountRequest): Promise<readonly Counted[]>;
}

export type CountRequest = Omit<SampleRequest, 'windowMs' | 'lagMs'> & {
  /** When the weight last changed, epoch milliseconds. */
  readonly since: number;
  /** Where each metric's last batch ended, by its name; absent for one that was not counted at this weight yet. */
  readonly cursors: Readonly<Record<string, CountCursor>>;
  /** The names of the metrics that this release has counted at some weight: of the time before it, nothing is asked. */
  readonly counted?: readonly string[];
  /** All traffic goes to the canary: stable, whose counters stand still or never were, is not waited for. */
  readonly alone?: boolean;
};

/** A source that holds connections open until it is let go of. */
export interface ClosableMetricSource extends MetricSource {
  close(): void;
}

export type RoutedRequest = Pick<
  SampleRequest,
  | 'service'
  | 'namespace'
  | 'versions'
  | 'tracks'
  | 'metrics'
  | 'at'
  | 'present'
  | 'onClock'
  | 'lagMs'
  | 'weight'
  | 'signal'
> & {
  /** Epoch milliseconds: what came before belongs to another weight. */
  readonly since: number;
};

/** How much of the traffic went where, of one weight alone. */
export type Routed =
  | {
      readonly kind: 'counts';
      /** What was asked, as sent. */
      readonly query: string;
      readonly canary: number;
      readonly stable: number;
      /** What is counted: each request, or each of those for whom it was decided. */
      readonly unit: 'request' | 'subject';
      /** How often the same decision may have been counted. */
      readonly cluster: number;
    }
  | {
      readonly kind: 'error' | 'no-data';
      readonly query: string;
      readonly message: string;
    };

export interface SampleRequest {
  readonly service: string;
  readonly namespace: string;
  readonly versions: { readonly canary: string; readonly stable: string };
  /** What stands for {{track}}, where that is not `canary` and `stable`: a blue-green release's colours. */
  readonly tracks?: { readonly canary: string; readonly stable: string };
  readonly metrics: readonly MetricPlan[];
  /** Epoch milliseconds; the source answers as of then, where it can. */
  readonly at: number;
  /**
   * What the clock says now by which `at`, and the weight's change, are told: epoch milliseconds. A source that answers
   * by a clock of its own has no answer when the two are apart. Left out where the past is asked about.
   */
  readonly present?: number;
  /**
   * Told, where an answer comes by a clock of the source's own, what that clock had come to then at least: epoch
   * milliseconds. By the clock of `present` it is later by the time the answer is gone by.
   */
  readonly onClock?: (ms: number) => void;
  /** By how much `at` lies before the look on purpose, as late samples want it; absent: not at all. */
  readonly lagMs?: number;
  readonly windowMs: number;
  /** The canary's weight in force, percent. Only the scripted source asks for it; without it, it answers as at 100. */
  readonly weight?: number;
  /**
   * Which track stands in the sample's place for the canary; the other one stands for stable. `canary` by default;
   * `stable` while it takes its traffic back with the new version.
   */
  readonly subject?: 'canary' | 'stable';
  readonly signal?: AbortSignal;
}
