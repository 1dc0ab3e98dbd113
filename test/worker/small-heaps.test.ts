import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const MB = 1024 * 1024;

/** Makes and drops much, and says what the space of new objects was given for it, here and then in a thread. */
const PROGRAM = `
  const { getHeapSpaceStatistics } = require('node:v8');
  const { Worker, isMainThread, parentPort } = require('node:worker_threads');
  const size = () => getHeapSpaceStatistics().find((space) => space.space_name === 'new_space').space_size;
  const sizeUnderPressure = () => {
    let kept = [];
    for (let i = 0; i < 3_000_000; i += 1) {
      kept.push({ i, list: [i] });
      if (kept.length > 200_000) kept = [];
    }
    return size();
  };
  if (isMainThread) {
    const { keepHeapsSmall } = require(process.env.MODULE);
    keepHeapsSmall();
    const own = sizeUnderPressure();
    new Worker(process.env.PROGRAM, { eval: true }).on('message', (thread) => console.log(JSON.stringify({ own, thread })));
  } else parentPort.postMessage(sizeUnderPressure());
`;

describe('the heaps of a worker', () => {
  it('have a small space for what is new, in the process and in its threads', async () => {
    const register = join(__dirname, '../../scripts/lib/ts-register.cjs');
    const { stdout } = await run(process.execPath, ['--require', register, '--eval', PROGRAM], {
      env: { ...process.env, MODULE: join(__dirname, '../../src/worker/small-heaps.ts'), PROGRAM },
    });

    const { own, thread } = JSON.parse(stdout) as { own: number; thread: number };
    // Two halves of eight; V8's own sizes are 32 MB at least, and grow with the machine.
    expect(thread).toBe(16 * MB);
    expect(own).toBeLessThanOrEqual(16 * MB);
  });
});
