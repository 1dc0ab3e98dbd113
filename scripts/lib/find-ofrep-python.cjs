const { execFile } = require('node:child_process');
const { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** OpenFeature's OFREP provider for Python, at the version that the tests were written against. */
const PACKAGE = 'openfeature-provider-ofrep==0.3.0';

/**
 * Finds a Python that has OpenFeature's OFREP provider, for the test that asks the flag service with it:
 * `SLUICE_OFREP_PYTHON`, the cache, and last one made in the cache from PyPI.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the interpreter, or why there is none
 */
async function findOfrepPython({ cacheDir, onProgress, env = process.env }) {
  if (env.SLUICE_OFREP_PYTHON) {
    if (await works(env.SLUICE_OFREP_PYTHON)) return { path: env.SLUICE_OFREP_PYTHON };
    return { reason: `SLUICE_OFREP_PYTHON names ${env.SLUICE_OFREP_PYTHON}, which has no ${PACKAGE}` };
  }
  const target = path.join(cacheDir, 'ofrep-python');
  const cached = path.join(target, 'bin', 'python');
  if (existsSync(cached) && (await works(cached))) return { path: cached };
  try {
    onProgress('fetching the OFREP provider for Python (once)');
    // Moved when it is whole; nothing in it is found by the folder's name but pip, which is not needed any more.
    mkdirSync(cacheDir, { recursive: true });
    const temporary = mkdtempSync(`${target}.new-`);
    try {
      await run('python3', ['-m', 'venv', temporary], { timeout: 120_000 });
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', PACKAGE];
      await run(path.join(temporary, 'bin', 'python'), pip, { timeout: 300_000 });
      rmSync(target, { recursive: true, force: true });
      renameSync(temporary, target);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    const why = error.code === 'ENOENT' ? `there is no ${error.path}` : lastLine(error.stderr || error.message);
    return { reason: `${PACKAGE} cannot be installed: ${why}` };
  }
  return (await works(cached)) ? { path: cached } : { reason: 'it does not run on this machine' };
}

async function works(python) {
  try {
    await run(python, ['-c', 'import openfeature.contrib.provider.ofrep'], { timeout: 60_000 });
    return true;
  } catch {
    // Missing, broken, or without the provider: for the caller it is the same, and the next place is looked at.
    return false;
  }
}

function lastLine(text) {
  return String(text).trim().split('\n').at(-1)?.trim() ?? '';
}

module.exports = { findOfrepPython };
