import { spawn, spawnSync } from 'node:child_process';
import { lstatSync, readlinkSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { takeProcessLock } from '../../src/devserver/process-lock';
import { startOf } from '../../src/devserver/process-identity';
import { temporaryFolder } from './support';

const folder = temporaryFolder();

function exists(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

describe('takeProcessLock', () => {
  it('is had once, says at once who has it, and can be had again', async () => {
    const lock = path.join(folder, 'new/folder/lock');

    const first = await takeProcessLock(lock);
    const second = await takeProcessLock(lock);

    expect(second).toEqual({ taken: false, holder: process.pid });
    if (first.taken) await first.release();
    expect(exists(lock)).toBe(false);
    expect(await takeProcessLock(lock)).toMatchObject({ taken: true });
  });

  it('is had by one of many that find the lock of a process that is gone', async () => {
    const lock = path.join(folder, 'stale');
    symlinkSync(`pid:${spawnSync('true').pid}`, lock);

    const attempts = await Promise.all(Array.from({ length: 10 }, () => takeProcessLock(lock)));

    expect(attempts.filter(({ taken }) => taken)).toHaveLength(1);
    expect(exists(`${lock}.breaking`)).toBe(false);
  });

  it('is not held by a process that was given the id of the one that held it', async () => {
    const lock = path.join(folder, 'reused');
    // What this process would have written, had it begun at another moment.
    symlinkSync(`pid:${process.pid}:before-the-machine-was-restarted`, lock);

    const attempt = await takeProcessLock(lock);

    expect(attempt).toMatchObject({ taken: true });
    expect(readlinkSync(lock)).toBe(`pid:${process.pid}:${await startOf(process.pid)}`);
  });
});

describe('startOf', () => {
  it('tells processes apart, and is the same each time', async () => {
    const child = spawn('sleep', ['60']);
    try {
      const [mine, again, its] = [
        await startOf(process.pid),
        await startOf(process.pid),
        await startOf(child.pid as number),
      ];

      expect(mine).toBeDefined();
      expect(again).toBe(mine);
      expect(its).toBeDefined();
      expect(its).not.toBe(mine);
    } finally {
      child.kill('SIGKILL');
    }
    expect(await startOf(spawnSync('true').pid)).toBeUndefined();
  });
});
