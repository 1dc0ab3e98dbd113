import path from 'node:path';
import { pino } from 'pino';
import type * as WorkerModule from '../../src/worker/start-worker';
import { FakeSource, FakeTarget } from '../activities/fakes';

// What was built: up in a fraction of the time that sources take, whose workflows are bundled anew.
// eslint-disable-next-line @typescript-eslint/no-require-imports
const { startWorker } = require(path.join(__dirname, '../../dist/worker/start-worker.js')) as typeof WorkerModule;

/** A worker, a process of its own, whose targets do as they are told at once, but for promotions: those never end. */
const target = new FakeTarget();
target.behave = async (name, signal) => {
  if (name !== 'promote') return;
  await new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('nobody waits any more'))));
};

void startWorker({
  address: process.env['TEMPORAL_ADDRESS'] ?? '',
  namespace: 'default',
  logger: pino({ level: 'silent' }),
  deps: {
    target: () => target,
    source: () => new FakeSource(),
    slack: () => {
      throw new Error('nobody is told here');
    },
  },
});
