import { PassThrough, Readable } from 'node:stream';
import type { Cli, InterruptSignal } from '../../src/cli/cli';
import { createCli } from '../../src/cli/create-cli';
import { runCli } from '../../src/cli/program';
import type { SluiceClient } from '../../src/client/client-types';
import { START } from './statuses';

export interface RunOptions {
  readonly client?: SluiceClient;
  readonly env?: NodeJS.ProcessEnv;
  /** Both streams and the input are a terminal of that many columns. */
  readonly tty?: number;
  /** What is typed. */
  readonly input?: string;
  readonly now?: () => number;
  readonly override?: Partial<Cli>;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A run under way: what it has written, and how to interrupt it. */
export interface Running {
  readonly ended: Promise<Ran>;
  readonly written: () => { out: string; err: string };
  interrupt(signal?: InterruptSignal): void;
  /** Resolves when what was written to either stream contains the text. */
  wrote(text: string): Promise<void>;
}

/** Runs a command line as it is, against a fake client and without this machine's settings. */
export async function run(args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return start(args, options).ended;
}

export function start(args: readonly string[], options: RunOptions = {}): Running {
  const env = { HOME: '/nonexistent', USER: 'tester', LANG: 'C.UTF-8', SLUICE_ACTOR: 'tester', ...options.env };
  const written = { out: '', err: '' };
  const waiters: { text: string; resolve: () => void }[] = [];
  const listeners = new Set<(signal: InterruptSignal) => void>();
  const collect = (name: 'out' | 'err'): Cli['stderr'] => {
    const stream = new PassThrough();
    stream.on('data', (chunk: Buffer) => {
      written[name] += chunk.toString();
      for (const waiter of waiters) if (written[name].includes(waiter.text)) waiter.resolve();
    });
    return Object.assign(stream, { isTTY: options.tty !== undefined, columns: options.tty, rows: 50 });
  };
  const stdin = Object.assign(Readable.from(options.input === undefined ? [] : [options.input]), {
    isTTY: options.tty !== undefined,
  });
  const cli: Cli = {
    ...createCli(env),
    stdin,
    stdout: collect('out'),
    stderr: collect('err'),
    version: '1.2.3',
    now: options.now ?? (() => START + 191_000),
    onInterrupt(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    ...(options.client === undefined ? {} : { connect: () => Promise.resolve(options.client as SluiceClient) }),
    ...options.override,
  };
  return {
    ended: runCli(cli, args).then(async (code) => {
      // What is still on its way through the streams arrives within this turn of the event loop.
      await new Promise((resolve) => setImmediate(resolve));
      return { code, ...written };
    }),
    written: () => ({ ...written }),
    interrupt(signal = 'SIGINT') {
      for (const listener of [...listeners]) listener(signal);
    },
    wrote: (text) =>
      new Promise((resolve) => {
        if (written.out.includes(text) || written.err.includes(text)) resolve();
        else waiters.push({ text, resolve });
      }),
  };
}
