import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { killed, until } from './support';

const root = path.join(__dirname, '..', '..');

/** `sluice flags-server` as a process of its own, on a port that stays. */
export interface ServiceProcess {
  readonly url: string;
  /** SIGKILL: what a crash is. */
  kill(): Promise<void>;
  /** Resolves when it answers from its flags. */
  start(): Promise<void>;
}

export function serviceProcess(port: number, file: string, env: Readonly<Record<string, string>>): ServiceProcess {
  const url = `http://127.0.0.1:${port}`;
  const program = ['--require', path.join(root, 'scripts/lib/ts-register.cjs'), path.join(root, 'src/cli/main.ts')];
  let child: ChildProcess | null = null;
  return {
    url,
    start: async () => {
      child = spawn(process.execPath, [...program, 'flags-server', '--port', String(port), '--file', file], {
        cwd: root,
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
      });
      await until(
        () =>
          fetch(`${url}/readyz`).then(
            ({ ok }) => ok,
            () => false,
          ),
        60_000,
      );
    },
    kill: async () => {
      const dying = child;
      child = null;
      await killed(dying);
    },
  };
}
