/**
 * What a question comes to, or null once the signal says that it is too late; what it says after that, a failure
 * too, is not heard any more.
 */
export async function inTime<T>(answer: Promise<T>, signal: AbortSignal): Promise<T | null> {
  answer.catch(() => undefined);
  if (signal.aborted) return null;
  let giveUp: () => void = () => undefined;
  const over = new Promise<null>((resolve) => {
    giveUp = (): void => resolve(null);
    signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([answer, over]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** Over when the outer one is, or when the budget is spent. */
export function limitedTo(budgetMs: number, signal: AbortSignal): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(budgetMs))]);
}
