import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { SluiceClient } from '../../src/client/client-types';
import { eventually } from '../targets/instance';

export interface WorkerProcess {
  readonly pid: number;
  /** What it wrote on stderr. */
  readonly log: () => string;
  /** Sends the signal and resolves, with how it ended, when the process is gone. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
}

const root = path.join(__dirname, '..', '..');
const SOURCES = ['--require', path.join(root, 'scripts/lib/ts-register.cjs'), path.join(root, 'src/cli/main.ts')];

/** What was built, as users run it: up in a fraction of the time. `builtSluice` makes sure that it is up to date. */
export const BUILT = [path.join(root, 'dist/cli/main.js')];

/** `sluice worker` as a process of its own; resolves when it polls. */
export async function startWorkerProcess(
  client: SluiceClient,
  env: Readonly<Record<string, string>>,
  program: readonly string[] = SOURCES,
): Promise<WorkerProcess> {
  const child = spawn(process.execPath, [...program, 'worker', '--log-format', 'json'], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
  });
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log = `${log}${text}`.slice(-50_000)));
  const pid = child.pid ?? -1;
  const gone = exitOf(child);
  let over = false;
  void gone.then(() => (over = true));
  let trouble = '';
  const polls = async (): Promise<boolean> => {
    try {
      return (await client.workers()).some(({ identity }) => identity.startsWith(`${pid}@`));
    } catch (error) {
      // A server that is too busy to say who polls is no worker that does not: the limit below is its own.
      trouble = `\nasked who polls: ${String(error)}`;
      return false;
    }
  };
  try {
    await eventually(
      async () => {
        if (over) throw new Error('the worker ended');
        // Asked so often that a busy machine would do nothing else, it would never be up.
        await delay(100);
        return polls();
      },
      'the worker process polls',
      240_000,
    );
  } catch (error) {
    if (!over) child.kill('SIGKILL');
    throw new Error(`${String(error)}\n${log}${trouble}`, { cause: error });
  }
  return {
    pid,
    log: () => log,
    end: async (signal) => {
      if (!over) child.kill(signal);
      return gone;
    },
  };
}

function exitOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  return new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })));
}
