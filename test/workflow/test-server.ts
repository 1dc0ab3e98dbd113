import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { TestWorkflowEnvironment } from '@temporalio/testing';
import { findTestServer } from '../../src/devserver/find-test-server';
import { freePort } from '../../src/devserver/free-port';
import { ClockGuard } from './clock-guard';
import { requireListening } from '../../src/devserver/start-temporal';

/** A time-skipping environment and the server that it talks to. */
export interface TestServer {
  readonly env: TestWorkflowEnvironment;
  readonly guard: ClockGuard;
  stop(): Promise<void>;
}

/** Loading its classes takes two seconds on a quiet machine; this much is a server that will never come. */
const START_MS = 60_000;

/**
 * The SDK gives a server that it starts five seconds, which on a busy machine are too few, and no setting makes them
 * more. So the server is started here and waited for, and the SDK is given its port, and something else to start that
 * does nothing but live: `sleep`, which takes the port for a number of seconds.
 */
const IDLE = '/bin/sleep';

export async function startTestServer(): Promise<TestServer> {
  const { path } = await findTestServer({ onProgress: () => undefined });
  const port = await freePort();
  const server = spawn(path, [String(port)], { stdio: ['ignore', 'ignore', 'inherit'] });
  const ended = once(server, 'exit');
  const kill = (): void => {
    server.kill('SIGKILL');
  };
  process.once('exit', kill);
  const stopServer = async (): Promise<void> => {
    process.off('exit', kill);
    if (server.exitCode === null && server.signalCode === null) kill();
    await ended;
  };
  try {
    await listening(port, () => server.exitCode);
    const env = await TestWorkflowEnvironment.createTimeSkipping({
      server: { executable: { type: 'existing-path', path: IDLE }, port },
    });
    const guard = new ClockGuard(env);
    return {
      env,
      guard,
      stop: async () => {
        guard.stop();
        await env.teardown();
        await stopServer();
      },
    };
  } catch (error) {
    await stopServer();
    throw error;
  }
}

async function listening(port: number, exitCode: () => number | null): Promise<void> {
  const deadline = performance.now() + START_MS;
  for (;;) {
    try {
      return await requireListening(`127.0.0.1:${port}`);
    } catch (error) {
      const code = exitCode();
      if (code !== null) throw new Error(`Temporal's test server ended with exit code ${code}.`, { cause: error });
      if (performance.now() > deadline) throw error;
    }
    await delay(50);
  }
}
