/**
 * What came before a weight change cannot be told from what came after it by a clock that is further off. Clocks that
 * are kept right are within milliseconds of each other, and within a second while one of them smears a leap second.
 */
const PROVEN_APART_MS = 2_000;

/** A clause about a clock that is off by so much at least, `where` being of which one; null where that is no matter. */
export function clocksApart(ms: number, where: string): string | null {
  if (!(ms > PROVEN_APART_MS)) return null;
  return `has a clock that is at least ${Math.floor(ms / 1000)} s ${where}; set both clocks right`;
}
