import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Says whether a function that was never called has been compiled, here and then in a thread: its code can be stored. */
const PROGRAM = `
  const { Script } = require('node:vm');
  const { Worker, isMainThread, parentPort } = require('node:worker_threads');
  const stored = (name) => {
    const body = Array.from({ length: 200 }, (_, i) => 'sum = sum * ' + i + ' + other(' + i + ');').join(' ');
    return new Script('function ' + name + '(other) { let sum = 0; ' + body + ' return sum; }').createCachedData().length;
  };
  if (isMainThread) {
    const before = stored('before');
    const { compileEverything } = require(process.env.MODULE);
    compileEverything();
    const own = stored('own');
    new Worker(process.env.PROGRAM, { eval: true }).on('message', (thread) => console.log(JSON.stringify({ before, own, thread })));
  } else parentPort.postMessage(stored('thread'));
`;

describe('the code of a worker', () => {
  it('is compiled before it is called, in the process and in its threads', async () => {
    const register = join(__dirname, '../../scripts/lib/ts-register.cjs');
    const { stdout } = await run(process.execPath, ['--require', register, '--eval', PROGRAM], {
      env: { ...process.env, MODULE: join(__dirname, '../../src/worker/eager-code.ts'), PROGRAM },
    });

    const { before, own, thread } = JSON.parse(stdout) as { before: number; own: number; thread: number };
    expect(own).toBeGreaterThan(2 * before);
    expect(thread).toBeGreaterThan(2 * before);
  });
});
