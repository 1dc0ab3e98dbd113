const { cpSync } = require('node:fs');
const path = require('node:path');
const { findDebianTool } = require('./debian-tool.cjs');

/**
 * Finds a Prometheus server for the tests that scrape and query a real one, with the promtool that belongs to it beside it.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
function findPrometheus({ cacheDir, onProgress, env = process.env }) {
  const tool = {
    title: 'Prometheus',
    program: 'prometheus',
    variable: 'SLUICE_PROMETHEUS',
    unusable: 'which does not run',
    cached: path.join(cacheDir, 'prometheus', 'bin', 'prometheus'),
    packages: ['prometheus'],
    arrange: ({ unpacked, target }) => {
      for (const name of ['prometheus', 'promtool']) {
        cpSync(path.join(unpacked, 'usr/bin', name), path.join(target, name));
      }
    },
  };
  return findDebianTool(tool, { onProgress, env });
}

module.exports = { findPrometheus };
