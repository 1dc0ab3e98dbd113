import { AsyncLocalStorage } from 'node:async_hooks';

const hearing = new AsyncLocalStorage<(sentence: string | null) => void>();

/**
 * Told of each wait in what `run` does, however deep: what for, when it begins, and null when it is over. Targets are kept
 * between activities and shared by them, so none of them can be told by whom it is asked.
 */
export function hearWaits<T>(hear: (sentence: string | null) => void, run: () => Promise<T>): Promise<T> {
  return hearing.run(hear, run);
}

/** Says what is waited for to the activity in which that happens. */
export function tellWait(sentence: string): void {
  hearing.getStore()?.(sentence);
}

export function tellWaited(): void {
  hearing.getStore()?.(null);
}
