import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Environment } from './cache-directory';

/** How a command ended. */
export interface CommandResult {
  /** The exit code; undefined when it could not be started or was ended by a signal. */
  readonly code: number | undefined;
  /** What was printed on stdout and stderr, at most the last `KEPT_LINES` lines. */
  readonly output: string;
  /** Why it did not run to its own end, for a sentence; undefined when it did. */
  readonly problem: string | undefined;
}

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Environment;
  /** Milliseconds after which it is ended; without one it may take as long as it likes. */
  readonly timeoutMs?: number;
  /** Ends the command when aborted; the reason is the `problem` of the result. */
  readonly signal?: AbortSignal;
  readonly onLine?: (line: string) => void;
  /** Written to its stdin, which is empty without it. */
  readonly input?: string;
}

/** Enough for the end of a compiler's or a resolver's complaint. */
const KEPT_LINES = 200;
/** How long a command may take to go after SIGTERM, in milliseconds. */
const GRACE_MS = 3_000;

/**
 * Runs a command to its end and returns how it ended; a command that is missing, fails or is ended is a result, not an
 * error. It stays in this process's group, so that Ctrl-C in a terminal reaches it and what it started.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: options.env === undefined ? process.env : { ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  // A command that ends without having read it all is known by its exit code.
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const kept: string[] = [];
  const keep = (line: string): void => {
    kept.push(line);
    if (kept.length > KEPT_LINES) kept.shift();
    options.onLine?.(line);
  };
  createInterface({ input: child.stdout }).on('line', keep);
  createInterface({ input: child.stderr }).on('line', keep);

  let problem: string | undefined;
  let grace: NodeJS.Timeout | undefined;
  const end = (why: string): void => {
    if (problem !== undefined) return;
    problem = why;
    child.kill('SIGTERM');
    grace = setTimeout(() => {
      child.kill('SIGKILL');
      // Something it started may hold the pipes open; this process does not wait for that.
      child.stdout.destroy();
      child.stderr.destroy();
    }, GRACE_MS);
  };
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => end(`it took longer than ${options.timeoutMs} ms`), options.timeoutMs);
  const onAbort = (): void => end(String(options.signal?.reason));
  if (options.signal?.aborted) onAbort();
  options.signal?.addEventListener('abort', onAbort, { once: true });
  const onExit = (): void => void child.kill('SIGKILL');
  process.once('exit', onExit);

  try {
    return await new Promise<CommandResult>((resolve) => {
      child.once('error', (error) => resolve({ code: undefined, output: '', problem: error.message }));
      child.once('close', (code, killedBy) => {
        if (problem === undefined && killedBy !== null) problem = `it was ended by ${killedBy}`;
        resolve({ code: code ?? undefined, output: kept.join('\n'), problem });
      });
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    options.signal?.removeEventListener('abort', onAbort);
    process.removeListener('exit', onExit);
  }
}
