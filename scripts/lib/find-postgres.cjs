const { readdirSync, renameSync, writeFileSync } = require('node:fs');
const path = require('node:path');
const { findDebianTool } = require('./debian-tool.cjs');

/** Debian 12's. */
const MAJOR = 15;

/**
 * Finds a PostgreSQL server for what is measured beside; `initdb` is in the folder of the executable.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
function findPostgres({ cacheDir, onProgress, env = process.env }) {
  const tool = {
    title: 'PostgreSQL',
    program: 'postgres',
    variable: 'SLUICE_POSTGRES',
    unusable: 'which does not run',
    cached: path.join(cacheDir, 'postgres', 'postgres'),
    // The server and the libraries that a bare Debian lacks.
    packages: [
      `postgresql-${MAJOR}`,
      'libgssapi-krb5-2',
      'libicu72',
      'libk5crypto3',
      'libkeyutils1',
      'libkrb5-3',
      'libkrb5support0',
      'libldap-2.5-0',
      'libpq5',
      'libsasl2-2',
      'libxml2',
    ],
    arrange,
  };
  return findDebianTool(tool, { onProgress, env });
}

function arrange({ unpacked, target }) {
  renameSync(unpacked, path.join(target, 'root'));
  const architecture = readdirSync(path.join(target, 'root/usr/lib')).find((name) => name.includes('-linux-'));
  for (const program of ['postgres', 'initdb']) {
    writeFileSync(
      path.join(target, program),
      [
        '#!/bin/bash',
        'root="$(cd "$(dirname "${BASH_SOURCE[0]}")/root" && pwd -P)"',
        `export LD_LIBRARY_PATH="$root/usr/lib/${architecture}:$root/lib/${architecture}"`,
        `exec "$root/usr/lib/postgresql/${MAJOR}/bin/${program}" "$@"`,
        '',
      ].join('\n'),
      { mode: 0o755 },
    );
  }
}

module.exports = { findPostgres };
