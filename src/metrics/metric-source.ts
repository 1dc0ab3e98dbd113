import type { Sample } from '../analysis/sample';
import type { MetricPlan } from '../spec/plan-types';

/** Where measurements come from. */
export interface MetricSource {
  /**
   * Every metric of both tracks at one time. Never throws for a backend's fault: that is a `problem` of kind `error`
   * on the observation, so that one broken query does not hide the others. Throws only for what no retry mends.
   */
  sample(request: SampleRequest): Promise<Sample>;
}

/** A source that holds connections open until it is let go of. */
export interface ClosableMetricSource extends MetricSource {
  close(): void;
}

export interface SampleRequest {
  readonly service: string;
  readonly namespace: string;
  readonly versions: { readonly canary: string; readonly stable: string };
  /** What stands for {{track}}, where that is not `canary` and `stable`: a blue-green release's colours. */
  readonly tracks?: { readonly canary: string; readonly stable: string };
  readonly metrics: readonly MetricPlan[];
  /** Epoch milliseconds; the source answers as of then, where it can. */
  readonly at: number;
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
