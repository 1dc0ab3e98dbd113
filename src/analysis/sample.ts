/** One look at the evidence: every metric of both tracks at one time. Produced by a metric source, read by a judge. */
export interface Sample {
  /** The time asked for, in epoch milliseconds: the workflow's time, not the moment the answer came. */
  readonly at: number;
  /** How far back the values look, milliseconds. */
  readonly windowMs: number;
  readonly metrics: readonly MetricSample[];
  /** True when the numbers were made up on the user's wish (`--simulate`). */
  readonly simulated?: boolean;
}

export interface MetricSample {
  readonly name: string;
  readonly canary: Observation;
  /** null where there is no stable track to look at. */
  readonly stable: Observation | null;
}

/** What one track answered for one metric. */
export interface Observation {
  /** What was asked, exactly as sent; for Prometheus the resolved PromQL. */
  readonly query: string;
  /** In the metric's unit (fraction, seconds, count); null when there is none to be had. Never NaN or infinite. */
  readonly value: number | null;
  /** Present for event metrics: `bad` of `total` requests in the window. */
  readonly events?: { readonly bad: number; readonly total: number };
  /** Requests behind the value, where the source knows it (quantiles). */
  readonly requests?: number;
  /** Why there is no value. `error`: the backend failed or answered nonsense; `no-data`: it answered, with nothing. */
  readonly problem?: { readonly kind: 'error' | 'no-data'; readonly message: string };
}
