import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { Cli } from './cli';
import { refuseUnreachable, resolveConnection } from './connection';
import { lazy } from './lazy';
import { createSpecTools } from './spec-source';

/** Between asking Temporal and giving up on it; a person waits. */
const CONNECT_TIMEOUT_MS = 5000;

/** The command line of this process; `env` stands in for its environment. */
export function createCli(env: NodeJS.ProcessEnv = process.env): Cli {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env,
    version: readVersion(),
    spec: createSpecTools(),
    now: () => Date.now(),
    async connect(choice) {
      const { origin, ...resolved } = await resolveConnection(choice, env);
      await refuseUnreachable(resolved, env);
      return lazy.connect().connect({ ...resolved, env, timeoutMs: CONNECT_TIMEOUT_MS, assumed: origin === 'default' });
    },
    async startWorker(choice) {
      const { origin, ...resolved } = await resolveConnection(choice, choice.env ?? env);
      return lazy.startWorker().startWorker({ env, ...choice, ...resolved, assumed: origin === 'default' });
    },
    findTemporal: (onProgress) => lazy.findTemporal().findTemporalCli({ onProgress }),
    startTemporal: (options) => lazy.startTemporal().startTemporal(options),
    onInterrupt,
  };
}

/** The package's; the file lies two folders above both `src/cli` and `dist/cli`. */
function readVersion(): string {
  const content = readFileSync(path.join(__dirname, '..', '..', 'package.json'), 'utf8');
  return (JSON.parse(content) as { version: string }).version;
}

function onInterrupt(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void {
  let interrupted = false;
  const listeners = (['SIGINT', 'SIGTERM'] as const).map((signal) => {
    const handle = (): void => {
      // The second Ctrl-C is from somebody who does not want to wait for an orderly end.
      if (interrupted && signal === 'SIGINT') process.exit(130);
      interrupted = true;
      listener(signal);
    };
    process.on(signal, handle);
    return [signal, handle] as const;
  });
  return () => {
    for (const [signal, handle] of listeners) process.off(signal, handle);
  };
}
