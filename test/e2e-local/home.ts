import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { cacheDirectory } from '../../src/devserver/cache-directory';

const MAIN = path.join(__dirname, '..', '..', 'dist', 'cli', 'main.js');
const LOOK_AGAIN_MS = 100;
/** How long anything may take that happens by itself; reached only when it never will. */
const WITHIN_MS = 60_000;

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A `sluice …` of its own process. */
export interface SluiceProcess {
  readonly pid: number;
  readonly ended: Promise<Ended>;
  written(): { readonly out: string; readonly err: string };
  terminate(): void;
  /** The first line of stdout; fails with what it said when it ends without one. */
  firstLine(): Promise<string>;
}

/**
 * A user of this machine who has nothing: state, settings and temporary files are in folders of their own, so that no
 * other `sluice dev` is found, or found out about. Only what was fetched once for all is shared.
 */
export class Home {
  readonly directory = mkdtempSync(path.join(tmpdir(), 'sluice-e2e-'));
  readonly #env: NodeJS.ProcessEnv;
  readonly #running = new Set<SluiceProcess>();

  constructor() {
    const folder = (name: string): string => {
      const made = path.join(this.directory, name);
      mkdirSync(made);
      return made;
    };
    this.#env = {
      PATH: process.env['PATH'],
      HOME: folder('home'),
      LANG: 'C.UTF-8',
      TMPDIR: folder('tmp'),
      XDG_CACHE_HOME: folder('cache'),
      XDG_CONFIG_HOME: folder('config'),
      XDG_DATA_HOME: folder('data'),
      XDG_STATE_HOME: folder('state'),
      SLUICE_ACTOR: 'ada',
      SLUICE_CACHE: cacheDirectory(),
    };
  }

  path(name: string): string {
    return path.join(this.directory, name);
  }

  write(name: string, content: string): string {
    writeFileSync(this.path(name), content);
    return this.path(name);
  }

  /** What is left in the folder for temporary files. */
  temporaryFiles(): string[] {
    return readdirSync(this.path('tmp'));
  }

  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): SluiceProcess {
    const child = spawn(process.execPath, [MAIN, ...args], {
      env: { ...this.#env, ...env },
      cwd: this.directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (child.pid === undefined) throw new Error(`node does not start: ${process.execPath}`);
    const written = { out: '', err: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => (written.out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (written.err += text));
    const running: SluiceProcess = {
      pid: child.pid,
      ended: once(child, 'close').then(([code, signal]) => {
        this.#running.delete(running);
        return { code: code as number | null, signal: signal as NodeJS.Signals | null, ...written };
      }),
      written: () => ({ ...written }),
      terminate: () => void child.kill('SIGTERM'),
      firstLine: () =>
        waitFor(() => {
          const end = written.out.indexOf('\n');
          if (end !== -1) return written.out.slice(0, end);
          if (child.exitCode === null && child.signalCode === null) return null;
          throw new Error(`sluice ${args.join(' ')} ended with ${child.exitCode ?? child.signalCode}: ${written.err}`);
        }),
    };
    this.#running.add(running);
    return running;
  }

  run(args: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
    return this.start(args, env).ended;
  }

  /**
   * The processes of this user that still run: each inherits the environment, also those that are put into a group of
   * their own. Only Linux tells; elsewhere the ports have to.
   */
  processes(): string[] {
    return processIds()
      .filter((pid) => readProcess(pid, 'environ').includes(`${this.directory}/`))
      .map(commandLineOf);
  }

  /** Ends what a failed test has left running, then removes the folders. */
  async close(): Promise<void> {
    for (const running of [...this.#running]) {
      running.terminate();
      await running.ended;
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** What `look` answers as soon as that is not null. */
export async function waitFor<T>(look: () => T | null | Promise<T | null>, withinMs = WITHIN_MS): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (Date.now() > deadline) throw new Error(`it is not so after ${withinMs / 1000} s: ${look.toString()}`);
    await delay(LOOK_AGAIN_MS);
  }
}

function processIds(): string[] {
  if (process.platform !== 'linux') return [];
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name));
}

function commandLineOf(pid: string): string {
  return `${pid} ${readProcess(pid, 'cmdline').replaceAll('\0', ' ').trim()}`;
}

function readProcess(pid: string, file: 'environ' | 'cmdline'): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    // It has ended since it was listed, or belongs to somebody else.
    return '';
  }
}
