/** One measured figure, beside what was aimed at. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  /** The goal as people read it: `below 100`; empty where there is none. */
  readonly goal: string;
  readonly met: boolean | null;
}

/** Figures that belong beside each other. */
export interface BenchTable {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface BenchResult {
  readonly bench: string;
  /** How it was measured, in a sentence. */
  readonly how: string;
  readonly figures: readonly Figure[];
  /** Parts that came to nothing, each with why. */
  readonly failed?: readonly string[];
  readonly tables?: readonly BenchTable[];
}

export function below(name: string, value: number, limit: number, unit: string): Figure {
  return { name, value, unit, goal: `below ${limit}`, met: value < limit };
}

export function atMost(name: string, value: number, limit: number, unit: string): Figure {
  return { name, value, unit, goal: `at most ${limit}`, met: value <= limit };
}

export function atLeast(name: string, value: number, limit: number, unit: string): Figure {
  return { name, value, unit, goal: `at least ${limit}`, met: value >= limit };
}

/** Told beside the goals, to make sense of them. */
export function told(name: string, value: number, unit: string): Figure {
  return { name, value, unit, goal: '', met: null };
}
