import type { Cli, InterruptSignal } from './cli';

/** Ctrl-C and SIGTERM of a command that runs until then, as a promise and as a signal for what it waits in. */
export interface Interruption {
  /** Aborts with the first of them. */
  readonly signal: AbortSignal;
  /** Resolves with the first of them. */
  readonly happened: Promise<InterruptSignal>;
  /** null until then. */
  readonly by: InterruptSignal | null;
  stopListening(): void;
}

export function listenForInterrupt(cli: Pick<Cli, 'onInterrupt'>): Interruption {
  const abort = new AbortController();
  let by: InterruptSignal | null = null;
  let resolve: (signal: InterruptSignal) => void = () => undefined;
  const happened = new Promise<InterruptSignal>((resolvePromise) => {
    resolve = resolvePromise;
  });
  const stopListening = cli.onInterrupt((signal) => {
    by ??= signal;
    resolve(by);
    abort.abort();
  });
  return {
    signal: abort.signal,
    happened,
    get by() {
      return by;
    },
    stopListening,
  };
}
