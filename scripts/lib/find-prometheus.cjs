const { execFile } = require('node:child_process');
const { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/**
 * Finds a Prometheus server for the tests that scrape and query a real one: `SLUICE_PROMETHEUS`, the PATH, the cache,
 * and last Debian's package, unpacked into the cache. It is not installed: that would change the system, need root and
 * start a service.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
async function findPrometheus({ cacheDir, onProgress, env = process.env }) {
  if (env.SLUICE_PROMETHEUS) {
    if (await works(env.SLUICE_PROMETHEUS)) return { path: env.SLUICE_PROMETHEUS };
    return { reason: `SLUICE_PROMETHEUS names ${env.SLUICE_PROMETHEUS}, which does not run` };
  }
  for (const folder of (env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, 'prometheus');
    if (folder !== '' && existsSync(file) && (await works(file))) return { path: file };
  }
  const cached = path.join(cacheDir, 'prometheus', 'bin', 'prometheus');
  if (existsSync(cached) && (await works(cached))) return { path: cached };
  try {
    onProgress('fetching Prometheus from the Debian archive (once)');
    await unpackDebianPackage(path.dirname(cached));
  } catch (error) {
    const why = error.code === 'ENOENT' ? `there is no ${error.path}` : firstLine(error.stderr || error.message);
    return { reason: `none on the PATH (install it, or let SLUICE_PROMETHEUS name it) nor from Debian: ${why}` };
  }
  return (await works(cached)) ? { path: cached } : { reason: "Debian's does not run on this machine" };
}

async function unpackDebianPackage(target) {
  mkdirSync(path.dirname(target), { recursive: true });
  const temporary = mkdtempSync(`${target}.new-`);
  try {
    const options = { cwd: temporary, timeout: 5 * 60_000 };
    try {
      await run('apt-get', ['download', '-q', 'prometheus'], options);
    } catch (error) {
      // A fresh container has no package lists yet; only root may fetch them.
      if (error.code === 'ENOENT' || process.getuid?.() !== 0) throw error;
      await run('apt-get', ['update', '-q'], options);
      await run('apt-get', ['download', '-q', 'prometheus'], options);
    }
    const [archive] = readdirSync(temporary).filter((name) => name.endsWith('.deb'));
    await run('dpkg', ['-x', archive, 'unpacked'], options);
    const bin = path.join(temporary, 'bin');
    mkdirSync(bin);
    for (const name of ['prometheus', 'promtool']) {
      cpSync(path.join(temporary, 'unpacked/usr/bin', name), path.join(bin, name));
    }
    rmSync(target, { recursive: true, force: true });
    renameSync(bin, target);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function works(file) {
  try {
    await run(file, ['--version'], { timeout: 15_000 });
    return true;
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

module.exports = { findPrometheus };
