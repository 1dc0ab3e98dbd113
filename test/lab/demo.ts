import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { join } from 'node:path';
import { messageOf, ReleaseError } from '../../src/errors';
import { findLab, findNamedLab, labEnvironment } from './lab';
import type { Lab } from './lab';
import { makeShop, removeShop, shopImage } from './shop';
import { tell } from './tell';

// `scripts/demo --kubernetes`: a cluster, the shop in it, and in front of both `sluice demo --kubernetes`. What is
// started here is taken down here, whatever ends the demo. Only the demo itself writes to stdout.

const ROOT = join(__dirname, '../..');
const REGISTER = join(ROOT, 'scripts/lib/ts-register.cjs');

async function main(args: readonly string[]): Promise<number> {
  const interruption = new AbortController();
  let signalled: NodeJS.Signals | undefined;
  // The terminal tells the children too; each ends in its own way, and what it leaves is taken down here.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      signalled ??= signal;
      interruption.abort(signal);
    });
  }
  const refuseInterrupted = (): void => {
    if (signalled !== undefined) throw new Interrupted(signalled);
  };
  let startedLab = false;
  let shop: { readonly lab: Lab; readonly namespace: string } | undefined;
  try {
    let lab = findNamedLab() ?? (await findLab());
    if (lab === undefined) {
      startedLab = true;
      await runLab('up', interruption.signal);
      refuseInterrupted();
      lab = await findLab();
    }
    if (lab === undefined) throw new ReleaseError('internal', 'The lab was brought up, and is not there.');
    const namespace = `sluice-demo-${process.pid}`;
    shop = { lab, namespace };
    tell(`making the shop in namespace ${namespace}`);
    const { host } = await makeShop(lab, { namespace, version: 'v1', replicas: 2 });
    refuseInterrupted();
    return await runDemo(args, lab, { namespace, host }, interruption.signal);
  } catch (error) {
    // A failure that Ctrl-C has brought about is no failure.
    if (signalled !== undefined) return ended('interrupted', 128 + constants.signals[signalled]);
    if (error instanceof ReleaseError) {
      tell(error.message);
      if (error.hint !== undefined) tell(error.hint);
    } else {
      console.error(error);
    }
    return ended(messageOf(error), 1);
  } finally {
    await cleanUp(shop, startedLab);
  }
}

class Interrupted extends Error {
  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
  }
}

/** The last line of stdout, where the demo itself did not come to print it. */
function ended(how: string, code: number): number {
  process.stdout.write(`demo: ${how}\n`);
  return code;
}

async function cleanUp(shop: { lab: Lab; namespace: string } | undefined, startedLab: boolean): Promise<void> {
  try {
    // With the lab everything in it goes.
    if (startedLab) await runLab('down');
    else if (shop !== undefined) await removeShop(shop.lab, shop.namespace);
  } catch (error) {
    tell(`Not everything was taken down: ${messageOf(error)}`);
    process.exitCode = 1;
  }
}

async function runLab(command: 'up' | 'down', signal?: AbortSignal): Promise<void> {
  const code = await run(['--require', REGISTER, join(__dirname, 'main.ts'), command], process.env, { signal });
  if (code === 0 || signal?.aborted === true) return;
  throw new ReleaseError('unsupported', `The lab could not be ${command === 'up' ? 'brought up' : 'taken down'}.`);
}

function runDemo(
  args: readonly string[],
  lab: Lab,
  { namespace, host }: { readonly namespace: string; readonly host: string },
  signal: AbortSignal,
): Promise<number> {
  const env = {
    ...process.env,
    ...labEnvironment(lab),
    SLUICE_DEMO_NAMESPACE: namespace,
    SLUICE_DEMO_HOST: host,
    SLUICE_DEMO_IMAGE: shopImage(lab, 'v1').replace(/:v1$/u, ''),
  };
  return run([join(ROOT, 'dist/cli/main.js'), 'demo', '--kubernetes', ...args], env, { signal, stdout: 'inherit' });
}

/** Runs a program of Node's, tells it of an interruption, and answers its exit code. */
async function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { signal, stdout = 'ignore' }: { readonly signal?: AbortSignal | undefined; readonly stdout?: 'ignore' | 'inherit' },
): Promise<number> {
  // In a process group of its own, so that Ctrl-C reaches it once, from here, and never while it takes the lab down.
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', stdout, 'inherit'], detached: true });
  const interrupt = (): void => void child.kill(signal?.reason as NodeJS.Signals);
  if (signal?.aborted === true) interrupt();
  signal?.addEventListener('abort', interrupt, { once: true });
  try {
    const [code, by] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    return code ?? 128 + (by === null ? 0 : constants.signals[by]);
  } finally {
    signal?.removeEventListener('abort', interrupt);
  }
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code === 0 ? (process.exitCode ?? 0) : code),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
