import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { isAlive as isProcessAlive } from '../../src/devserver/process-identity';
import { takeProcessLock } from '../../src/devserver/process-lock';
import { ReleaseError } from '../../src/errors';
import { parse, parseOptions } from './arguments';
import { startPart, stopPart } from './control';
import { readableState, remains, takeDown } from './down';
import { canUseKind, isKindBegun, kindDown, kindUp } from './kind';
import { labEnvironment, labOf, requireLab } from './lab';
import type { Lab } from './lab';
import { COMPONENTS, LAB_HOME, Paths } from './layout';
import type { ComponentName } from './layout';
import { ensureApiServerParts, ensureLabParts } from './parts';
import { checkMachine } from './machine';
import { checkNamespace, isShopVersion, makeShop } from './shop';
import { SHOP_VERSIONS } from './shop-images';
import { readState } from './state';
import { printStatus } from './status';
import { tell } from './tell';
import { bringUp, isAlive, ownedByAnother } from './up';

const USAGE = `usage: scripts/lab COMMAND

  up                       brings the lab up, or what is missing of it, and prints where things are
  down                     takes it down; nothing of it is left behind
  status                   what runs, in which version and where
  run -- COMMAND...        runs a command with KUBECONFIG, the addresses (SLUICE_LAB_*) and kubectl on its PATH
  shop NAMESPACE [--version v1] [--replicas 2]
                           makes the sample shop in a namespace, to be reached through the gateway
  stop|start COMPONENT     ends one of its programs, and starts it again: ${COMPONENTS.join(', ')}
  build [--api-server]     builds and fetches what is not in the cache yet, and starts nothing; with --api-server only
                           what the tests against a lone API server need
`;

/** The checkout: the owner of the lab that it brings up. */
const OWNER = realpathSync(path.resolve(__dirname, '../..'));

async function main([command, ...args]: readonly string[]): Promise<number> {
  switch (command) {
    case 'up':
      parseOptions(command, args, {});
      return up();
    case 'down':
      parseOptions(command, args, {});
      return down();
    case 'status':
      parseOptions(command, args, {});
      return printStatus();
    case 'run':
      return run(args[0] === '--' ? args.slice(1) : args);
    case 'shop':
      return shop(args);
    case 'stop':
    case 'start':
      return control(command, args);
    case 'build':
      return build(args);
    case undefined:
    case 'help':
    case '--help':
      process.stdout.write(USAGE);
      return command === undefined ? 2 : 0;
    default:
      throw new ReleaseError('usage', `scripts/lab has no command '${command}'.`, {
        hint: 'scripts/lab --help lists them.',
      });
  }
}

async function up(): Promise<number> {
  endOnSignals();
  if (await canUseKind()) {
    printAddresses(await kindUp());
    return 0;
  }
  checkMachine();
  return locked(async () => {
    const running = readState();
    if (running !== undefined && running.owner !== OWNER && (await isAlive(running))) throw ownedByAnother(running);
    const parts = await ensureLabParts(tell);
    const state = await bringUp(parts, OWNER);
    printAddresses(labOf(state));
    return 0;
  });
}

async function down(): Promise<number> {
  if (!isKindBegun()) return downHere();
  try {
    await kindDown();
    return 0;
  } catch (error) {
    const code = explain(error);
    // Where Docker has gone, `up` may have made the other kind of lab since: that one is taken down all the same.
    if (existsSync(LAB_HOME)) await downHere();
    return code;
  }
}

async function downHere(): Promise<number> {
  checkMachine();
  return locked(async () => {
    const state = readableState();
    if (state !== undefined && state.owner !== OWNER && (await isAlive(state))) throw ownedByAnother(state);
    await takeDown();
    const left = remains();
    if (left.length > 0) throw new ReleaseError('internal', `Of the lab is left: ${left.join(', ')}.`);
    tell('nothing of the lab is left');
    return 0;
  });
}

async function run([program, ...args]: readonly string[]): Promise<number> {
  if (program === undefined)
    throw new ReleaseError('usage', 'scripts/lab run needs a command: scripts/lab run -- kubectl get nodes');
  const env = { ...process.env, ...labEnvironment(await requireLab()) };
  const child = spawn(program, args, { stdio: 'inherit', env });
  // Ctrl-C reaches the command by the terminal; this process waits for how it takes it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal));
  const ended = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const failed = once(child, 'error').then(([error]) => {
    throw new ReleaseError('usage', `'${program}' cannot be started: ${(error as Error).message}.`);
  });
  const [code, signal] = await Promise.race([ended, failed]);
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

async function shop(args: readonly string[]): Promise<number> {
  const { values, positionals } = parse(args, { version: { type: 'string' }, replicas: { type: 'string' } });
  const [namespace, ...rest] = positionals;
  if (namespace === undefined || rest.length > 0)
    throw new ReleaseError('usage', 'scripts/lab shop needs one namespace.');
  checkNamespace(namespace);
  const version = values.version ?? 'v1';
  if (!isShopVersion(version)) {
    throw new ReleaseError('usage', `The shop has no version '${version}'.`, {
      hint: `There are ${Object.keys(SHOP_VERSIONS).join(', ')}.`,
    });
  }
  const replicas = Number(values.replicas ?? '2');
  if (!Number.isInteger(replicas) || replicas < 0 || replicas > 50) {
    throw new ReleaseError('usage', `--replicas is '${values.replicas}'; it must be a whole number from 0 to 50.`);
  }
  const made = await makeShop(await requireLab(), { namespace, version, replicas });
  process.stdout.write(`curl -H 'Host: ${made.host}' ${made.url}/\n`);
  return 0;
}

async function control(command: 'stop' | 'start', [name, ...rest]: readonly string[]): Promise<number> {
  if (!isComponent(name) || rest.length > 0) {
    throw new ReleaseError('usage', `scripts/lab ${command} needs one of ${COMPONENTS.join(', ')}.`);
  }
  await (command === 'stop' ? stopPart(name) : startPart(name));
  return 0;
}

async function build(args: readonly string[]): Promise<number> {
  const values = parseOptions('build', args, { 'api-server': { type: 'boolean' } });
  endOnSignals();
  if (values['api-server'] === true) await ensureApiServerParts(tell);
  else await ensureLabParts(tell);
  return 0;
}

/** Ends by `exit`, so that a build that is under way ends too. What is up of a lab stays: `up` goes on from there. */
function endOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
}

/** One change of the lab at a time on this machine. */
async function locked(work: () => Promise<number>): Promise<number> {
  const attempt = await takeProcessLock(Paths.lock);
  if (!attempt.taken) {
    throw new ReleaseError(
      'conflict',
      `Process ${attempt.holder} is bringing a lab up or down on this machine, and there can only be one.`,
      {
        hint: `Start again when it is done${isProcessAlive(attempt.holder) ? '' : ' (it has just ended)'}.`,
      },
    );
  }
  try {
    return await work();
  } finally {
    await attempt.release();
  }
}

function printAddresses(lab: Lab): void {
  const lines = Object.entries(labEnvironment(lab)).filter(([name]) => name !== 'PATH');
  process.stdout.write(`${lines.map(([name, value]) => `${name}=${value}`).join('\n')}\n`);
}

function isComponent(name: string | undefined): name is ComponentName {
  return COMPONENTS.some((component) => component === name);
}

/** Prints what went wrong, for a person where it is meant for one, and returns the exit code. */
function explain(error: unknown): number {
  if (!(error instanceof ReleaseError)) {
    console.error(error);
    return 1;
  }
  tell(error.message);
  if (error.hint !== undefined) tell(error.hint);
  return error.code === 'usage' ? 2 : 1;
}

// By `exit`, so that a build that goes on beside the one that failed ends too (runCommand sees to that).
main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => process.exit(explain(error)),
);
