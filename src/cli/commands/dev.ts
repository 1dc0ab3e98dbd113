import path from 'node:path';
import { SEARCH_ATTRIBUTES } from '../../workflows/api';
import type { RunningTemporal } from '../../devserver/start-temporal';
import type { RunningWorker } from '../cli';
import { isPortFree } from '../../devserver/free-port';
import { DATABASE, takeDevLocks } from '../dev-lock';
import { devStateDirectory, removeDevConnection, writeDevConnection } from '../dev-state';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { listenForInterrupt } from '../interrupt';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import { createReadableLogger, readableLine } from '../readable-log';
import type { Session } from '../session';
import { parsePort } from '../units';

interface DevOptions {
  readonly port?: string;
  readonly uiPort?: string;
  readonly state?: string;
  readonly healthPort?: string;
}

export const DEV_NAMESPACE = 'default';
/** Where Temporal's own tools look. */
const USUAL_PORT = 7233;
const USUAL_UI_PORT = 8233;

/** `sluice dev`: all of Sluice on one machine: Temporal with its UI, and a worker, until Ctrl-C. */
export function addDevCommand(registry: Registry): void {
  registry
    .add('dev', 'Run Temporal, its UI and a worker on this machine; every other command finds them', [
      'sluice dev',
      'sluice dev --port 7233 --ui-port 8233 --state ~/sluice-state',
    ])
    .option('--port <port>', "Temporal's port; 0 takes a free one (default: 7233, or a free one)")
    .option('--ui-port <port>', "the UI's port; 0 takes a free one (default: 8233, or a free one)")
    .option('--state <directory>', 'where releases are kept over restarts (default: $XDG_STATE_HOME/sluice/dev)')
    .option('--health-port <port>', "answer the worker's /healthz and /metrics there")
    .action(async (options: DevOptions, command) => {
      await registry.run(command, (session) => dev(session, options));
    });
}

async function dev(session: Session, options: DevOptions): Promise<ExitCode> {
  const { cli } = session;
  const port = options.port === undefined ? await preferredPort(USUAL_PORT) : parsePort(options.port, '--port');
  const uiPort =
    options.uiPort === undefined ? await preferredPort(USUAL_UI_PORT) : parsePort(options.uiPort, '--ui-port');
  const healthPort = options.healthPort === undefined ? undefined : parsePort(options.healthPort, '--health-port');
  const state = path.resolve(options.state ?? devStateDirectory(cli.env));
  const releaseLocks = await takeDevLocks(cli.env, state);
  const interruption = listenForInterrupt(cli);
  const write = (line: string): void => session.warn(line);
  let temporal: RunningTemporal | null = null;
  let worker: RunningWorker | null = null;
  try {
    const binary = await cli.findTemporal((line) => session.note(line));
    temporal = await cli.startTemporal({
      binary: binary.path,
      port,
      uiPort,
      namespace: DEV_NAMESPACE,
      dbFile: path.join(state, DATABASE),
      searchAttributes: searchAttributeTypes(),
      onLog: (line) => write(readableLine(line, session.noteLook)),
    });
    worker = await cli.startWorker({
      address: temporal.address,
      namespace: DEV_NAMESPACE,
      logger: createReadableLogger(write, session.noteLook, session.verbose ? 'debug' : 'info'),
      ...(healthPort === undefined ? {} : { healthPort }),
    });
    await writeDevConnection(cli.env, {
      pid: process.pid,
      address: temporal.address,
      namespace: DEV_NAMESPACE,
      uiUrl: temporal.uiUrl ?? null,
      startedAt: cli.now(),
    });
    announce(session, temporal, worker);
    return await untilItEnds(session, temporal, worker, interruption.happened);
  } finally {
    interruption.stopListening();
    // In this order: nobody is sent to a server that goes, and a worker can report what it was doing.
    await removeDevConnection(cli.env, process.pid);
    await worker?.stop();
    await temporal?.stop();
    await releaseLocks();
    session.note('Stopped. Releases in progress continue when `sluice dev` runs again.');
  }
}

/** The usual one where it is free, so that bookmarks and other tools keep working; else any. */
async function preferredPort(usual: number): Promise<number> {
  return (await isPortFree(usual)) ? usual : 0;
}

function announce(session: Session, temporal: RunningTemporal, worker: RunningWorker): void {
  const document = {
    apiVersion: API_VERSION,
    kind: 'Dev',
    pid: process.pid,
    address: temporal.address,
    namespace: DEV_NAMESPACE,
    uiUrl: temporal.uiUrl ?? null,
    healthUrl: worker.healthUrl,
  };
  session.result(document, () => [
    `Temporal UI   ${temporal.uiUrl ?? 'none'}`,
    `Temporal      ${temporal.address}, namespace ${DEV_NAMESPACE}`,
    `Worker        running${worker.healthUrl === null ? '' : `, ${worker.healthUrl}`}`,
    'Ready: `sluice deploy release.yaml --version …` in another terminal. Ctrl-C stops all.',
  ]);
}

async function untilItEnds(
  session: Session,
  temporal: RunningTemporal,
  worker: RunningWorker,
  interrupted: Promise<unknown>,
): Promise<ExitCode> {
  const ended = await Promise.race([
    interrupted.then(() => null),
    temporal.exited.then(({ code, signal }) => `Temporal ended by itself (${signal ?? `code ${code ?? 'none'}`}).`),
    worker.stopped.then(() => 'The worker ended by itself.'),
  ]);
  if (ended === null) return EXIT.ok;
  session.warn(ended);
  return EXIT.error;
}

/** The release's search attributes by the names that Temporal's tools use. */
export function searchAttributeTypes(): Record<string, 'Keyword' | 'Int'> {
  return Object.fromEntries(
    Object.entries(SEARCH_ATTRIBUTES).map(([name, type]) => [name, type === 'INT' ? 'Int' : 'Keyword']),
  );
}
