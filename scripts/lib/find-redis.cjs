const { readdirSync, renameSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { findDebianTool } = require('./debian-tool.cjs');

/**
 * Finds a Redis server for the tests that talk to a real one.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
function findRedis({ cacheDir, onProgress, env = process.env }) {
  const tool = {
    title: 'Redis',
    program: 'redis-server',
    variable: 'SLUICE_REDIS_SERVER',
    unusable: 'which is no Redis 7 that runs',
    cached: path.join(cacheDir, 'redis', 'redis-server'),
    // The server and the libraries it is linked with; the executable is in the tools.
    packages: ['redis-tools', 'libatomic1', 'libjemalloc2', 'liblzf1'],
    arrange,
    // New enough for the store's scripts.
    suits: (version) => Number(/v=(\d+)/.exec(version)?.[1] ?? 0) >= 7,
  };
  return findDebianTool(tool, { onProgress, env });
}

function arrange({ unpacked, target }) {
  renameSync(unpacked, path.join(target, 'root'));
  const architecture = readdirSync(path.join(target, 'root/usr/lib')).find((name) => name.includes('-linux-'));
  // The file is under another name in the package: Redis tells by its name what it is to be. `exec -a` is bash's.
  writeFileSync(
    path.join(target, 'redis-server'),
    [
      '#!/bin/bash',
      'root="$(cd "$(dirname "${BASH_SOURCE[0]}")/root" && pwd -P)"',
      `export LD_LIBRARY_PATH="$root/usr/lib/${architecture}:$root/lib/${architecture}"`,
      'exec -a redis-server "$root/usr/bin/redis-check-rdb" "$@"',
      '',
    ].join('\n'),
    { mode: 0o755 },
  );
}

module.exports = { findRedis };
