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

export interface SampleRequest {
  readonly service: string;
  readonly namespace: string;
  readonly versions: { readonly canary: string; readonly stable: string };
  readonly metrics: readonly MetricPlan[];
  /** Epoch milliseconds; the source answers as of then, where it can. */
  readonly at: number;
  readonly windowMs: number;
  readonly signal?: AbortSignal;
}
