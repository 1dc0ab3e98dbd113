/** Calls `tell` with the seconds since now, every `everyMs` milliseconds until it is stopped. */
export function tellEvery(everyMs: number, tell: (seconds: number) => void): { stop(): void } {
  const began = Date.now();
  const timer = setInterval(() => tell(Math.round((Date.now() - began) / 1000)), everyMs);
  return { stop: () => clearInterval(timer) };
}
