const { execFile } = require('node:child_process');
const { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** Debian's server and the libraries it is linked with; the executable is in the tools. */
const PACKAGES = ['redis-tools', 'libatomic1', 'libjemalloc2', 'liblzf1'];

/**
 * Finds a Redis server for the tests that talk to a real one: `SLUICE_REDIS_SERVER`, the PATH, the cache, and last
 * Debian's package, unpacked into the cache. It is not installed: that would change the system, need root and start a
 * service.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
async function findRedis({ cacheDir, onProgress, env = process.env }) {
  if (env.SLUICE_REDIS_SERVER) {
    if (await works(env.SLUICE_REDIS_SERVER)) return { path: env.SLUICE_REDIS_SERVER };
    return { reason: `SLUICE_REDIS_SERVER names ${env.SLUICE_REDIS_SERVER}, which is no Redis 7 that runs` };
  }
  for (const folder of (env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, 'redis-server');
    if (folder !== '' && existsSync(file) && (await works(file))) return { path: file };
  }
  const cached = path.join(cacheDir, 'redis', 'redis-server');
  if (existsSync(cached) && (await works(cached))) return { path: cached };
  try {
    onProgress('fetching Redis from the Debian archive (once)');
    await unpackDebianPackages(path.dirname(cached));
  } catch (error) {
    const why = error.code === 'ENOENT' ? `there is no ${error.path}` : firstLine(error.stderr || error.message);
    return { reason: `none on the PATH (install it, or let SLUICE_REDIS_SERVER name it) nor from Debian: ${why}` };
  }
  return (await works(cached)) ? { path: cached } : { reason: "Debian's does not run on this machine" };
}

async function unpackDebianPackages(target) {
  mkdirSync(path.dirname(target), { recursive: true });
  const temporary = mkdtempSync(`${target}.new-`);
  try {
    const options = { cwd: temporary, timeout: 5 * 60_000 };
    try {
      await run('apt-get', ['download', '-q', ...PACKAGES], options);
    } catch (error) {
      // A fresh container has no package lists yet; only root may fetch them.
      if (error.code === 'ENOENT' || process.getuid?.() !== 0) throw error;
      await run('apt-get', ['update', '-q'], options);
      await run('apt-get', ['download', '-q', ...PACKAGES], options);
    }
    for (const archive of readdirSync(temporary).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', archive, 'root'], options);
      rmSync(path.join(temporary, archive));
    }
    const architecture = readdirSync(path.join(temporary, 'root/usr/lib')).find((name) => name.includes('-linux-'));
    // The file is under another name in the package: Redis tells by its name what it is to be. `exec -a` is bash's.
    writeFileSync(
      path.join(temporary, 'redis-server'),
      [
        '#!/bin/bash',
        'root="$(cd "$(dirname "${BASH_SOURCE[0]}")/root" && pwd -P)"',
        `export LD_LIBRARY_PATH="$root/usr/lib/${architecture}:$root/lib/${architecture}"`,
        'exec -a redis-server "$root/usr/bin/redis-check-rdb" "$@"',
        '',
      ].join('\n'),
      { mode: 0o755 },
    );
    rmSync(target, { recursive: true, force: true });
    renameSync(temporary, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

/** Whether it runs and is new enough for the store's scripts. */
async function works(file) {
  try {
    const { stdout } = await run(file, ['--version'], { timeout: 15_000 });
    return Number(/v=(\d+)/.exec(stdout)?.[1] ?? 0) >= 7;
  } catch {
    // Missing, of another platform, or broken: for the caller it is the same, and the next place is looked at.
    return false;
  }
}

function firstLine(text) {
  return (
    String(text)
      .split('\n')
      .find((line) => line.trim() !== '') ?? ''
  ).trim();
}

module.exports = { findRedis };
