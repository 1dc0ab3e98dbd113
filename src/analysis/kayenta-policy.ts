/** What a canary config of Kayenta says about one metric, with its defaults in place. */
export interface KayentaMetric {
  readonly name: string;
  readonly groups: readonly string[];
  readonly direction: 'increase' | 'decrease' | 'either';
  /** What becomes of the points that are no number: left out, or taken for 0. */
  readonly nanStrategy: 'remove' | 'replace';
  /** Outliers are left in unless the config says otherwise. */
  readonly outliers: { readonly strategy: 'keep' | 'remove'; readonly factor: number };
  readonly critical: boolean;
  readonly mustHaveData: boolean;
  /** Judged and shown, but without a part in the score. */
  readonly muted: boolean;
  readonly effectSize: KayentaEffectSize;
}

/** How large a difference must be to count; `cles` is the chance that a canary's value is above a baseline's. */
export interface KayentaEffectSize {
  readonly measure: 'meanRatio' | 'cles';
  readonly allowedIncrease: number;
  readonly allowedDecrease: number;
  readonly criticalIncrease: number;
  readonly criticalDecrease: number;
}

/** JSON through and through: a plan carries it. */
export interface KayentaPolicy {
  readonly metrics: readonly KayentaMetric[];
  /** Percent of the score; groups that are not named share what is left. */
  readonly groupWeights: Readonly<Record<string, number>>;
  readonly scoreThresholds: { readonly pass: number; readonly marginal: number };
}

/** What one metric measured; NaN where there was no value. */
export interface KayentaSeries {
  readonly control: readonly number[];
  readonly experiment: readonly number[];
}

export type KayentaClassification = 'Pass' | 'High' | 'Low' | 'Nodata' | 'NodataFailMetric' | 'Error';

export interface KayentaMetricResult {
  readonly name: string;
  readonly classification: KayentaClassification;
  /** It alone takes the whole score to 0. */
  readonly criticalFailure: boolean;
  /** A sentence a person understands. */
  readonly sentence: string;
}

export interface KayentaResult {
  readonly metrics: readonly KayentaMetricResult[];
  /** Percent of each group's metrics that passed. */
  readonly groups: Readonly<Record<string, number>>;
  /** 0 to 100, with two decimals. */
  readonly score: number;
  readonly classification: 'Pass' | 'Marginal' | 'Fail';
  readonly sentence: string;
}
