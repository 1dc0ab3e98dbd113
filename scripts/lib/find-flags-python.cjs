const { execFile } = require('node:child_process');
const { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/** OpenFeature's OFREP provider for Python, and Schemathesis, at the versions that the tests were written against. */
const PACKAGES = ['openfeature-provider-ofrep==0.3.0', 'schemathesis==4.32.5'];

/**
 * Finds a Python that has both, for the tests that ask the flag service with them: `SLUICE_FLAGS_PYTHON`, the cache, and
 * last one made in the cache from PyPI.
 *
 * @returns {Promise<{path: string} | {reason: string}>} the interpreter, or why there is none
 */
async function findFlagsPython({ cacheDir, onProgress, env = process.env }) {
  if (env.SLUICE_FLAGS_PYTHON) {
    if (await works(env.SLUICE_FLAGS_PYTHON)) return { path: env.SLUICE_FLAGS_PYTHON };
    return {
      reason: `SLUICE_FLAGS_PYTHON names ${env.SLUICE_FLAGS_PYTHON}, which lacks ${PACKAGES.join(' or ')}, or is none`,
    };
  }
  const target = path.join(cacheDir, 'flags-python');
  const cached = path.join(target, 'bin', 'python');
  if (existsSync(cached) && (await works(cached))) return { path: cached };
  try {
    onProgress('fetching the OFREP provider for Python and Schemathesis (once)');
    // Moved when it is whole; nothing in it is found by the folder's name but pip, which is not needed any more.
    mkdirSync(cacheDir, { recursive: true });
    const temporary = mkdtempSync(`${target}.new-`);
    try {
      await run('python3', ['-m', 'venv', temporary], { timeout: 300_000 });
      const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', ...PACKAGES];
      await run(path.join(temporary, 'bin', 'python'), pip, { timeout: 300_000 });
      rmSync(target, { recursive: true, force: true });
      renameSync(temporary, target);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
  } catch (error) {
    const why = error.code === 'ENOENT' ? `there is no ${error.path}` : lastLine(error.stderr || error.message);
    return { reason: `${PACKAGES.join(' and ')} cannot be installed: ${why}` };
  }
  return (await works(cached)) ? { path: cached } : { reason: 'it does not run on this machine' };
}

/** Prints what is there, in pip's own words; of other versions the tests would say something else. */
const LOOK = `
from importlib.metadata import version
import openfeature.contrib.provider.ofrep
for name in ("openfeature-provider-ofrep", "schemathesis"):
    print(name + "==" + version(name))
`;

async function works(python) {
  try {
    const { stdout } = await run(python, ['-c', LOOK], { timeout: 120_000 });
    return PACKAGES.every((wanted) => stdout.split('\n').includes(wanted));
  } catch {
    // Missing, broken, or without one of them: for the caller it is the same, and the next place is looked at.
    return false;
  }
}

function lastLine(text) {
  return String(text).trim().split('\n').at(-1)?.trim() ?? '';
}

module.exports = { findFlagsPython };
