/** Ticks of a time, from `from` up to but without `to`. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
}

export interface ChosenWindows {
  /** The first tick of each pretend release, rising. */
  readonly starts: readonly number[];
  /** How many would fit without a tick in common. */
  readonly fitting: number;
}

/** Fewer say too little, more say hardly anything more. */
const FEWEST = 100;
const MOST = 1_000;

/**
 * Where pretend releases of `length` ticks begin, evenly over the stretches: as many as fit side by side, from 100 to
 * 1,000, or as many as are wanted. Empty when not even one fits.
 */
export function chooseWindows(stretches: readonly Stretch[], length: number, wanted: number | null): ChosenWindows {
  const room = stretches.map(({ from, to }) => Math.max(0, to - from - length + 1));
  const all = room.reduce((sum, each) => sum + each, 0);
  const fitting = stretches.reduce((sum, { from, to }) => sum + Math.max(0, Math.floor((to - from) / length)), 0);
  if (all === 0) return { starts: [], fitting };
  const count = Math.min(all, wanted ?? Math.min(MOST, Math.max(FEWEST, fitting)));
  const starts = Array.from({ length: count }, (_, index) => {
    let place = count === 1 ? 0 : Math.round((index * (all - 1)) / (count - 1));
    for (const [at, stretch] of stretches.entries()) {
      const here = room[at] ?? 0;
      if (place < here) return stretch.from + place;
      place -= here;
    }
    return 0;
  });
  return { starts, fitting };
}

/** What is left of a stretch without the others, in order. */
export function without(whole: Stretch, others: readonly Stretch[]): readonly Stretch[] {
  const left: Stretch[] = [];
  let from = whole.from;
  for (const other of others.toSorted((one, two) => one.from - two.from)) {
    if (other.from > from) left.push({ from, to: Math.min(other.from, whole.to) });
    from = Math.max(from, other.to);
  }
  if (from < whole.to) left.push({ from, to: whole.to });
  return left;
}

/** Stretches that touch as one, rising. */
export function merge(stretches: readonly Stretch[]): readonly Stretch[] {
  const merged: Stretch[] = [];
  for (const stretch of stretches.toSorted((one, two) => one.from - two.from)) {
    const last = merged.at(-1);
    if (last !== undefined && stretch.from <= last.to) {
      merged[merged.length - 1] = { from: last.from, to: Math.max(last.to, stretch.to) };
    } else merged.push(stretch);
  }
  return merged;
}
