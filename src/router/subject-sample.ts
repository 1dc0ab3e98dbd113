import type { Decision } from './decide';
import type { RoutedSubjects } from './protocol';

/** Bits of the memory below; a power of two. */
const BITS = 65_536;

/** Where in a percent's fraction the bits begin that say which of them a bucket is: too fine to tell a cohort by. */
const FINENESS = 2 ** 30;

/** What a sample is about: with another weight or another salt, another begins. */
export interface RoutedUnder {
  readonly weight: number;
  readonly weightChangedAtMs: number;
  readonly salt: string | null;
}

/**
 * Counts the subjects that the weight decided about, each once: a subject's requests all go the same way, so that only
 * the first says something about the share that the weight comes to.
 *
 * Which were seen is remembered in one fixed bit each, 8 KiB in all. Two that share a bit are counted as one, whichever
 * cohort they are in, so the share stays as it is; once all bits are taken nothing more is counted.
 */
export class SubjectSample {
  readonly #seen = new Uint8Array(BITS / 8);
  #under: RoutedUnder | null = null;
  #counts = { stable: 0, canary: 0 };

  note(under: RoutedUnder, { bucket, cohort }: Pick<Decision, 'bucket' | 'cohort'>): void {
    if (bucket === null) return;
    this.#turnTo(under);
    const bit = Math.floor((bucket * FINENESS) % BITS);
    const mask = 1 << (bit & 7);
    const index = bit >>> 3;
    const byte = this.#seen[index] ?? 0;
    if ((byte & mask) !== 0) return;
    this.#seen[index] = byte | mask;
    this.#counts[cohort] += 1;
  }

  counts(under: RoutedUnder): RoutedSubjects {
    this.#turnTo(under);
    return { weight: under.weight, ...this.#counts };
  }

  #turnTo(under: RoutedUnder): void {
    const before = this.#under;
    if (
      before?.weight === under.weight &&
      before.weightChangedAtMs === under.weightChangedAtMs &&
      before.salt === under.salt
    )
      return;
    this.#under = under;
    this.#seen.fill(0);
    this.#counts = { stable: 0, canary: 0 };
  }
}
