import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time';
import { temporal } from '@temporalio/proto';
import { messageOf, ReleaseError } from '../errors';
import { hasCode } from './error-code';
import { freePort, isPortFree } from './free-port';

/** The types of search attributes, by the names that Temporal's tools use. */
export type SearchAttributeTypeName = 'Text' | 'Keyword' | 'Int' | 'Double' | 'Bool' | 'Datetime' | 'KeywordList';

export interface StartTemporalOptions {
  /** Temporal's CLI, see `findTemporalCli`. */
  readonly binary: string;
  /** Default: 127.0.0.1. The dev server has no authentication: any other address lets others in. */
  readonly ip?: string;
  /** Port of the gRPC front end; 0 or nothing: a free one. */
  readonly port?: number;
  /** Port of the web UI; 0 or nothing: a free one. */
  readonly uiPort?: number;
  /** Created when it is not there. Default: `default`. */
  readonly namespace?: string;
  /** The SQLite file with the state, made with its folder when missing; without one the state ends with the server. */
  readonly dbFile?: string;
  /** Search attributes that the namespace has to have. */
  readonly searchAttributes?: Readonly<Record<string, SearchAttributeTypeName>>;
  /** Without the web UI. Default: false. */
  readonly headless?: boolean;
  /** Gets each line that the server prints (JSON in the server's own format, warnings and errors only). */
  readonly onLog?: (line: string) => void;
  /** Milliseconds within which it has to answer. Default: 30,000. */
  readonly startTimeoutMs?: number;
}

/** How the server's process ended. */
export interface TemporalExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A Temporal dev server that answers. */
export interface RunningTemporal {
  /** `host:port` of the gRPC front end. */
  readonly address: string;
  /** Where its web UI is; undefined when headless. */
  readonly uiUrl: string | undefined;
  readonly pid: number;
  /** Ends it (SIGTERM, after 10 seconds SIGKILL) and resolves when the process is gone. May be called more than once. */
  stop(): Promise<void>;
  /** Resolves when the process is gone, by `stop` or by itself. */
  readonly exited: Promise<TemporalExit>;
}

/** Go's garbage collector at its default of 100 takes a share of the processor that releases at once wait for. */
const GOGC = '400';

const START_TIMEOUT_MS = 30_000;
/** The server drains for up to about 2 seconds; what takes longer is stuck. */
const STOP_GRACE_MS = 10_000;
const LOOK_AGAIN_MS = 50;
/** A request to a server that is about to come up must not outlast the moment at which it is up. */
const REQUEST_TIMEOUT_MS = 2_000;

/**
 * Limits meant for a shared cluster. On one machine the only tenant is Sluice, and hundreds of releases that each poll,
 * measure and get listed would run into them.
 */
export const DYNAMIC_CONFIG = {
  'frontend.rps': 20_000,
  'frontend.namespaceRPS': 20_000,
  'frontend.namespaceRPS.visibility': 1_000,
  'frontend.namespaceCount': 10_000,
  // Timers fire up to this much late; the server's default is a second, which would be added to every soak.
  'history.timerProcessorMaxTimeShift': '10ms',
  // The server reads due timers and tasks to hand out at most 20 times a second for each of its shards. It has one, and
  // with 200 releases at once what waited for the next reading fired up to 11 seconds late.
  'history.timerProcessorMaxPollRPS': 1_000,
  'history.transferProcessorMaxPollRPS': 1_000,
  // Reading as often as that looks to the server like a reader that does not get on: after the third time within a
  // second it moves the timers of that second to a slower one, which fired them up to 12 seconds late. Where that never
  // happens, a busy second is read over and over, which takes a quarter more of the processor.
  'history.queueReaderStuckCriticalAttempts': 20,
  // An activity is handed out with the answer that scheduled it, and a task queue on one machine needs one partition:
  // both are round trips between a roll back's request and its first write.
  'system.enableActivityEagerExecution': true,
  'matching.numTaskqueueReadPartitions': 1,
  'matching.numTaskqueueWritePartitions': 1,
} as const;

/**
 * Starts Temporal's dev server and waits until it serves the namespace with its search attributes.
 *
 * The server gets its own process group: Ctrl-C in a terminal reaches only the caller, who can end its workers first.
 * So that it never outlives the caller, not even one that is killed with SIGKILL, a small shell process holds the
 * other end of a pipe from the caller and ends the server when the pipe closes.
 *
 * @throws ReleaseError `unreachable` when it does not come up, with the server's own last words
 */
export async function startTemporal(options: StartTemporalOptions): Promise<RunningTemporal> {
  const ip = options.ip ?? '127.0.0.1';
  const port = options.port || (await freePort(ip));
  const headless = options.headless ?? false;
  const uiPort = headless ? undefined : options.uiPort || (await freePort(ip));
  const namespace = options.namespace ?? 'default';
  const address = `${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
  await requireFree(ip, port, 'its gRPC port');
  if (uiPort !== undefined) await requireFree(ip, uiPort, 'its web UI');
  if (options.dbFile !== undefined) await mkdir(path.dirname(path.resolve(options.dbFile)), { recursive: true });

  const lastWords: string[] = [];
  let stopping = false;
  const child = spawn(options.binary, serverArguments({ ...options, ip, port, namespace }, uiPort), {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { GOGC, ...withoutTemporalSettings(process.env) },
  });
  const exited = new Promise<TemporalExit>((resolve) => {
    child.once('error', (error) => {
      lastWords.push(error.message);
      resolve({ code: null, signal: null });
    });
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on('line', (line) => {
      lastWords.push(line);
      if (lastWords.length > 20) lastWords.shift();
      // Its banner says what the caller knows, and on its way out it only reports that its parts are going.
      if (!stopping && line.startsWith('{')) options.onLog?.(line);
    });
  }
  const guard = child.pid === undefined ? undefined : startGuard(child.pid);
  void exited.then(() => guard?.dismiss());

  const stop = async (): Promise<void> => {
    stopping = true;
    const signal = (name: NodeJS.Signals): void => {
      if (child.exitCode === null && child.signalCode === null) child.kill(name);
    };
    signal('SIGTERM');
    const timer = setTimeout(() => signal('SIGKILL'), STOP_GRACE_MS);
    await exited;
    clearTimeout(timer);
  };

  try {
    await waitUntilReady({
      address,
      namespace,
      searchAttributes: options.searchAttributes ?? {},
      deadline: Date.now() + (options.startTimeoutMs ?? START_TIMEOUT_MS),
      exited,
    });
  } catch (error) {
    await stop();
    const said = lastErrorIn(lastWords);
    throw new ReleaseError(
      'unreachable',
      `Temporal's dev server (${options.binary}) did not come up on ${address}: ${messageOf(error)}${said === undefined ? '' : `; it said: ${said}`}.`,
      {
        hint: 'Check that this program is a Temporal CLI that runs, and that its state file is not in use.',
        cause: error,
      },
    );
  }
  return {
    address,
    uiUrl: uiPort === undefined ? undefined : `http://${ip.includes(':') ? `[${ip}]` : ip}:${uiPort}`,
    pid: pidOf(child),
    stop,
    exited,
  };
}

/**
 * Looked at before the start, because a server of somebody else on the port would answer in place of the new one, and
 * be taken for it.
 */
async function requireFree(ip: string, port: number, what: string): Promise<void> {
  if (await isPortFree(port, ip)) return;
  throw new ReleaseError(
    'conflict',
    `Temporal's dev server cannot use port ${port} of ${ip} for ${what}: it is taken.`,
    {
      hint: 'Stop what listens there, or choose another port.',
    },
  );
}

function serverArguments(
  options: StartTemporalOptions & { readonly ip: string; readonly port: number; readonly namespace: string },
  uiPort: number | undefined,
): string[] {
  const args = ['server', 'start-dev', '--ip', options.ip, '--port', String(options.port)];
  args.push('--namespace', options.namespace, '--log-format', 'json', '--log-level', 'warn');
  if (uiPort === undefined) args.push('--headless');
  else args.push('--ui-port', String(uiPort));
  if (options.dbFile !== undefined) args.push('--db-filename', path.resolve(options.dbFile));
  for (const [name, type] of Object.entries(options.searchAttributes ?? {})) {
    args.push('--search-attribute', `${name}=${type}`);
  }
  for (const [key, value] of Object.entries(DYNAMIC_CONFIG))
    args.push('--dynamic-config-value', `${key}=${JSON.stringify(value)}`);
  return args;
}

/** A profile or an API key that the user has for another Temporal must not change this one. */
function withoutTemporalSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_')));
}

/**
 * The process that ends the server when this one is gone, however it went: the kernel closes the pipe, `read` returns,
 * and the server is asked to go, and made to after a while. A line in the pipe means that the server has ended by
 * itself and that its process id may soon be somebody else's.
 */
const GUARD = `
  if read -r _; then exit 0; fi
  kill -TERM "$1" 2>/dev/null || exit 0
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    kill -0 "$1" 2>/dev/null || exit 0
  done
  kill -KILL "$1" 2>/dev/null
`;

function startGuard(pid: number): { dismiss(): void } {
  const guard = spawn('/bin/sh', ['-c', GUARD, 'sluice-temporal-guard', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  // Without a guard the server still runs and is still stopped; only a SIGKILL of this process would leave it behind.
  guard.once('error', () => {});
  guard.stdin.once('error', () => {});
  // Neither the guard nor the pipe to it may keep this process running.
  guard.unref();
  (guard.stdin as Socket).unref();
  return { dismiss: () => guard.stdin.end('done\n') };
}

interface Readiness {
  readonly address: string;
  readonly namespace: string;
  readonly searchAttributes: Readonly<Record<string, SearchAttributeTypeName>>;
  /** Milliseconds since the epoch. */
  readonly deadline: number;
  readonly exited: Promise<TemporalExit>;
}

class ProcessGone extends Error {
  constructor(exit: TemporalExit) {
    super(
      exit.code === null && exit.signal === null
        ? 'it could not be started'
        : `it ended with ${exit.signal ?? `code ${exit.code}`}`,
    );
    this.name = 'ProcessGone';
  }
}

/** Tries until the server serves what is wanted, the deadline is over, or its process has ended. */
async function waitUntilReady(wanted: Readiness): Promise<void> {
  let gone: TemporalExit | undefined;
  void wanted.exited.then((exit) => {
    gone = exit;
  });
  for (;;) {
    try {
      if (gone !== undefined) throw new ProcessGone(gone);
      await setUpNamespace(wanted);
      return;
    } catch (error) {
      if (error instanceof ProcessGone) throw error;
      if (Date.now() > wanted.deadline) throw error;
      await Promise.race([delay(LOOK_AGAIN_MS), wanted.exited]);
    }
  }
}

/**
 * Connects, and completes what the command line cannot: the dev server makes its namespaces and search attributes only
 * when it makes its database, so a file from an older version lacks the newer ones.
 */
async function setUpNamespace(wanted: Readiness): Promise<void> {
  const { namespace } = wanted;
  // A refused gRPC connection is only tried again after a second; a refused plain one is known at once.
  await requireListening(wanted.address);
  const connection = await Connection.connect({ address: wanted.address, connectTimeout: REQUEST_TIMEOUT_MS });
  try {
    await connection.withDeadline(Date.now() + REQUEST_TIMEOUT_MS, async () => {
      try {
        await connection.workflowService.describeNamespace({ namespace });
      } catch (error) {
        if (!hasCode(error, NOT_FOUND)) throw error;
        await connection.workflowService.registerNamespace({
          namespace,
          workflowExecutionRetentionPeriod: msToTs(RETENTION),
        });
      }
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      const missing = Object.entries(wanted.searchAttributes).filter(([name]) => !(name in customAttributes));
      if (missing.length === 0) return;
      await connection.operatorService.addSearchAttributes({
        namespace,
        searchAttributes: Object.fromEntries(missing.map(([name, type]) => [name, INDEXED_VALUE_TYPES[type]])),
      });
    });
  } finally {
    await connection.close();
  }
}

/** @throws the error of the connection when nobody listens there. */
export async function requireListening(address: string): Promise<void> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const socket = connect(Number(port), hostname.replace(/^\[|\]$/g, ''));
  try {
    await once(socket, 'connect');
  } finally {
    socket.destroy();
  }
}

/** gRPC's status code. */
const NOT_FOUND = 5;
/** A day, as the dev server itself gives to the namespaces it makes. */
const RETENTION = '1 day';

const INDEXED_VALUE_TYPES = {
  Text: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_TEXT,
  Keyword: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
  Int: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_INT,
  Double: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_DOUBLE,
  Bool: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
  Datetime: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
  KeywordList: temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
} as const satisfies Record<SearchAttributeTypeName, temporal.api.enums.v1.IndexedValueType>;

/** What the server itself said was wrong, in its plain or its JSON format. */
function lastErrorIn(lines: readonly string[]): string | undefined {
  for (const line of [...lines].reverse()) {
    const plain = /level=ERROR msg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
    if (plain !== undefined) return unescaped(plain);
    if (/^spawn |^Error: /.test(line)) return line.replace(/^Error: /, '');
    const json = /"level":"(?:ERROR|FATAL)","msg":"((?:[^"\\]|\\.)*)"/i.exec(line)?.[1];
    if (json !== undefined) return unescaped(json);
  }
  return undefined;
}

/** Both formats quote as Go and JSON do; a sentence has no use for line breaks. */
function unescaped(quoted: string): string {
  return quoted
    .replace(/\\([nrt])/g, ' ')
    .replace(/\\(.)/g, '$1')
    .trim();
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('a process that answers has an id');
  return child.pid;
}
