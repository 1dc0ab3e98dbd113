import { fork } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { ReleaseError } from '../../errors';

/** An instance of the shop in its own process. */
export interface ShopProcess {
  readonly url: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const START_WITHIN_MS = 15_000;
const STOP_WITHIN_MS = 3000;

export async function startShopProcess(adminToken: string): Promise<ShopProcess> {
  const { PATH } = process.env;
  const child = fork(path.join(__dirname, 'shop-main.js'), [], {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    env: { ...(PATH === undefined ? {} : { PATH }), PORT: '0', CANARY_ADMIN_TOKEN: adminToken },
  });
  const words: string[] = [];
  child.stderr?.on('data', (chunk: Buffer) => {
    words.push(chunk.toString());
    if (words.length > 20) words.shift();
  });
  const gone = once(child, 'exit');
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    if (child.connected) child.disconnect();
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
    await gone;
    clearTimeout(force);
  };
  const giveUp = AbortSignal.timeout(START_WITHIN_MS);
  try {
    const [message] = (await Promise.race([
      once(child, 'message', { signal: giveUp }),
      gone.then(() => Promise.reject(new Error(`it ended: ${words.join('').trim()}`))),
    ])) as [{ url: string }];
    if (child.pid === undefined) throw new Error('it has no process id');
    return { url: message.url, pid: child.pid, stop };
  } catch (cause) {
    await stop();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ReleaseError('internal', `The demo's shop could not be started: ${why}`, { cause });
  }
}
