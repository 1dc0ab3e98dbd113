const { execFile } = require('node:child_process');
const { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const run = promisify(execFile);

/**
 * Finds a program that tests talk to: by its variable, on the PATH, in the cache, and last in Debian's packages, unpacked
 * into the cache. They are not installed: that would change the system, need root and start a service.
 *
 * @param {object} tool
 * @param {string} tool.title what people call it
 * @param {string} tool.program its name on the PATH
 * @param {string} tool.variable names an executable that is used and no other
 * @param {string} tool.unusable the end of the sentence about one that is not: `which does not run`
 * @param {string} tool.cached where it is once it was fetched
 * @param {readonly string[]} tool.packages of Debian
 * @param {(folders: {unpacked: string, target: string}) => void} tool.arrange makes the cached executable's folder
 * @param {(versionLine: string) => boolean} [tool.suits] by what `--version` prints; anything does when left out
 * @param {{onProgress: (line: string) => void, env: NodeJS.ProcessEnv}} options
 * @returns {Promise<{path: string} | {reason: string}>} the executable, or why there is none
 */
async function findDebianTool(tool, { onProgress, env }) {
  const { title, program, variable, unusable, cached, suits = () => true } = tool;
  const works = (file) => runs(file, suits);
  const named = env[variable];
  if (named) return (await works(named)) ? { path: named } : { reason: `${variable} names ${named}, ${unusable}` };
  for (const folder of (env.PATH ?? '').split(path.delimiter)) {
    const file = path.join(folder, program);
    if (folder !== '' && existsSync(file) && (await works(file))) return { path: file };
  }
  if (existsSync(cached) && (await works(cached))) return { path: cached };
  try {
    onProgress(`fetching ${title} from the Debian archive (once)`);
    await unpack(tool);
  } catch (error) {
    const why = error.code === 'ENOENT' ? `there is no ${error.path}` : firstLine(error.stderr || error.message);
    return { reason: `none on the PATH (install it, or let ${variable} name it) nor from Debian: ${why}` };
  }
  return (await works(cached)) ? { path: cached } : { reason: "Debian's does not run on this machine" };
}

async function unpack({ cached, packages, arrange }) {
  const folder = path.dirname(cached);
  mkdirSync(path.dirname(folder), { recursive: true });
  const temporary = mkdtempSync(`${folder}.new-`);
  try {
    const options = { cwd: temporary, timeout: 5 * 60_000 };
    try {
      await run('apt-get', ['download', '-q', ...packages], options);
    } catch (error) {
      // A fresh container has no package lists yet; only root may fetch them.
      if (error.code === 'ENOENT' || process.getuid?.() !== 0) throw error;
      await run('apt-get', ['update', '-q'], options);
      await run('apt-get', ['download', '-q', ...packages], options);
    }
    for (const archive of readdirSync(temporary).filter((name) => name.endsWith('.deb'))) {
      await run('dpkg', ['-x', archive, 'unpacked'], options);
    }
    const target = path.join(temporary, 'target');
    mkdirSync(target);
    arrange({ unpacked: path.join(temporary, 'unpacked'), target });
    rmSync(folder, { recursive: true, force: true });
    renameSync(target, folder);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

async function runs(file, suits) {
  try {
    const { stdout } = await run(file, ['--version'], { timeout: 15_000 });
    return suits(stdout);
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

module.exports = { findDebianTool };
