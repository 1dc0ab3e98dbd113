/**
 * Before anything was counted, how unevenly bad events fall on stable's processes is taken from the time before: enough
 * minutes for a verdict of two processes, each long enough for two scrapes. Releases, `monitor`, backtests and plans take
 * it from the same, so that all of them divide by as many clusters.
 */
const BEFORE = { minutes: 30, minuteMs: 60_000 } as const;

/** The ticks of that time, which ends when counting begins: epoch milliseconds. */
export interface TimeBefore {
  readonly from: number;
  readonly tickMs: number;
  readonly ticks: number;
}

export function timeBefore(until: number): TimeBefore {
  const { minutes, minuteMs } = BEFORE;
  return { from: until - minutes * minuteMs, tickMs: minuteMs, ticks: minutes };
}
