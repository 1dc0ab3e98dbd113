import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';

/** The flag service in a process of its own, with this environment beside ours, while it is used. */
export async function withServer<T>(env: Record<string, string>, use: (url: string) => Promise<T>): Promise<T> {
  const { SLUICE_REDIS_URL: _, SLUICE_API_KEY: __, ...inherited } = process.env;
  return withProcess(fork(require.resolve('./server-process'), { env: { ...inherited, ...env } }), use);
}

/** What answers every request alike, over a plain socket or by Node's HTTP server, in a process of its own. */
export async function withResponder<T>(kind: 'net' | 'http', use: (url: string) => Promise<T>): Promise<T> {
  return withProcess(fork(require.resolve('./responder-process'), [kind]), use);
}

/** A server that tells its address, and ends when its parent disconnects. */
export async function withProcess<T>(child: ChildProcess, use: (url: string) => Promise<T>): Promise<T> {
  try {
    return await use(await addressOf(child));
  } finally {
    if (child.connected) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      await ended;
    }
  }
}

function addressOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('message', (message: { url: string }) => resolve(message.url));
    child.once('exit', (code) => reject(new Error(`a server of the benchmark ended with ${code}`)));
  });
}
