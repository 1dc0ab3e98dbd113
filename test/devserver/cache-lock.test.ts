import { spawnSync } from 'node:child_process';
import { lstatSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { withCacheLock } from '../../src/devserver/cache-lock';
import { temporaryFolder, until } from './support';

const folder = temporaryFolder();

function exists(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false }) !== undefined;
}

describe('withCacheLock', () => {
  it('lets one in at a time, tells the other who holds it, and leaves nothing', async () => {
    const lock = path.join(folder, 'new/folder/.lock');
    let inside = 0;
    let most = 0;
    const waitedFor: number[] = [];
    const work = async (): Promise<void> => {
      inside += 1;
      most = Math.max(most, inside);
      await until('the other one waits', () => waitedFor.length > 0);
      inside -= 1;
    };

    await Promise.all([1, 2].map(() => withCacheLock(lock, (holder) => waitedFor.push(holder), work)));

    expect(most).toBe(1);
    expect(waitedFor).toEqual([process.pid]);
    expect(exists(lock)).toBe(false);
  });

  it('takes over the lock of a process that is gone', async () => {
    const lock = path.join(folder, 'stale.lock');
    const gone = spawnSync('true').pid;
    symlinkSync(`pid:${gone}`, lock);
    const onWait = jest.fn();

    const results = await Promise.all([1, 2, 3].map((n) => withCacheLock(lock, onWait, () => Promise.resolve(n))));

    expect(results).toEqual([1, 2, 3]);
    expect(onWait).not.toHaveBeenCalledWith(gone);
    expect(exists(lock)).toBe(false);
    expect(exists(`${lock}.breaking`)).toBe(false);
  });

  it('is free again after work that failed', async () => {
    const lock = path.join(folder, 'failed.lock');

    await expect(withCacheLock(lock, jest.fn(), () => Promise.reject(new Error('broken')))).rejects.toThrow('broken');

    expect(exists(lock)).toBe(false);
  });
});
