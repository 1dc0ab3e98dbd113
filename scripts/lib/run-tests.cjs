/**
 * Type check, lint and all tests, then one closing line: `N passed, N failed`, and `, N skipped` when some were.
 * On a machine that lacks the servers that tests talk to, those are fetched or built beside the checks.
 *
 * `scripts/test` calls this after the set-up; arguments go to jest, which then is all that runs.
 */
const { execFile, spawn, spawnSync } = require('node:child_process');
const { existsSync, mkdirSync, readFileSync, rmSync } = require('node:fs');
const path = require('node:path');
const { cacheDirectory } = require('../../dist/devserver/cache-directory.js');
const { findTemporalCli } = require('../../dist/devserver/find-temporal.js');
const { findTestServer } = require('../../dist/devserver/find-test-server.js');
const { findPrometheus } = require('./find-prometheus.cjs');
const { findFlagsPython } = require('./find-flags-python.cjs');
const { findRedis } = require('./find-redis.cjs');
require('./ts-register.cjs');
const { whyNoLab } = require('../../test/lab/machine.ts');
const { readState } = require('../../test/lab/state.ts');
const { isAlive } = require('../../test/lab/up.ts');

const root = path.resolve(__dirname, '../..');
const report = path.join(root, '.sluice', `jest-${process.pid}.json`);
/** Seconds jest may take to end after its last test; what keeps it longer is a handle that a test left open. */
const EXIT_GRACE_S = 30;

const say = (line) => console.log(`sluice: ${line}`);
const children = new Set();

/** Runs a Node program to its end. `quiet` holds its output back until it fails. */
function runNode(args, { env = process.env, quiet = false, onStart } = {}) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: root,
      env,
      stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
    });
    children.add(child);
    const held = [];
    child.stdout?.on('data', (chunk) => held.push(chunk));
    child.stderr?.on('data', (chunk) => held.push(chunk));
    onStart?.(child);
    child.once('error', (error) => resolve({ ok: false, output: error.message }));
    child.once('close', (code, signal) => {
      children.delete(child);
      resolve({ ok: code === 0, code, signal, output: Buffer.concat(held).toString() });
    });
  });
}

/** The checks that need no server, side by side. Each counts as one, by the name it is printed with. */
function staticChecks() {
  return Promise.all(
    [
      ['typecheck', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json', '--noEmit']],
      ['lint', ['node_modules/eslint/bin/eslint.js', '.'], ['node_modules/prettier/bin/prettier.cjs', '--check', '.']],
    ].map(async ([name, ...commands]) => {
      const started = Date.now();
      say(`${name} ...`);
      let ok = true;
      for (const command of commands) {
        const result = await runNode(command, { quiet: true });
        if (result.ok) continue;
        ok = false;
        process.stdout.write(result.output.endsWith('\n') ? result.output : `${result.output}\n`);
      }
      say(`${name}: ${ok ? 'passed' : 'FAILED'} (${Math.round((Date.now() - started) / 1000)} s)`);
      return { name, ok };
    }),
  );
}

/**
 * What tests find their servers and tools by. Temporal's are needed; without Prometheus, Redis, Python or docker-compose
 * the tests that need them are skipped.
 */
async function servers() {
  const [cli, testServer, prometheus, redis, python, compose] = await Promise.all([
    findTemporalCli({ onProgress: say }),
    findTestServer({ onProgress: say }),
    findPrometheus({ cacheDir: cacheDirectory(), onProgress: say }),
    findRedis({ cacheDir: cacheDirectory(), onProgress: say }),
    findFlagsPython({ cacheDir: cacheDirectory(), onProgress: say }),
    findCompose(),
  ]);
  const env = { ...process.env, SLUICE_TEMPORAL_CLI: cli.path, SLUICE_TEMPORAL_TEST_SERVER: testServer.path };
  if ('path' in prometheus) env.SLUICE_PROMETHEUS = prometheus.path;
  else {
    delete env.SLUICE_PROMETHEUS;
    say(`tests against a real Prometheus are skipped: ${prometheus.reason}`);
  }
  if ('path' in redis) env.SLUICE_REDIS_SERVER = redis.path;
  else {
    delete env.SLUICE_REDIS_SERVER;
    say(`tests against a real Redis are skipped: ${redis.reason}`);
  }
  if ('path' in python) env.SLUICE_FLAGS_PYTHON = python.path;
  else {
    delete env.SLUICE_FLAGS_PYTHON;
    say(`the tests with Python (OFREP's provider, Schemathesis) are skipped: ${python.reason}`);
  }
  if ('command' in compose) env.SLUICE_DOCKER_COMPOSE = compose.command;
  else {
    delete env.SLUICE_DOCKER_COMPOSE;
    say(`the check of docker-compose.yml is skipped: ${compose.reason}`);
  }
  return env;
}

/** The script prints the command, or why there is none on stderr. */
function findCompose() {
  return new Promise((resolve) => {
    execFile('bash', [path.join(__dirname, 'ensure-compose.sh')], (error, stdout, stderr) => {
      if (error === null) resolve({ command: stdout.trim() });
      else resolve({ reason: stderr.trim().split('\n').at(-1) ?? error.message });
    });
  });
}

/** scripts/lab from the sources, as arguments of Node. */
const LAB = ['--require', path.join(__dirname, 'ts-register.cjs'), 'test/lab/main.ts'];
/** Whether there is a lab that this run has to take down. */
let labIsOurs = false;

/** Runs scripts/lab, with its words as they come. */
function runLab(args) {
  return runNode([...LAB, ...args]);
}

/**
 * Builds what the tests need of Kubernetes, which is half an hour of work where nothing is cached. Where no lab can run,
 * an API server alone does for some of them, and where that cannot be had either, they are skipped and say so.
 */
async function buildLab(why) {
  if (why === undefined) return (await runLab(['build'])).ok;
  say(`tests on a whole Kubernetes are skipped: ${why}`);
  if (!(await runLab(['build', '--api-server'])).ok) say('tests against a real API server are skipped (see above)');
  return true;
}

/**
 * The tests that need the machine's only lab: first that it comes and goes, then the end-to-end tests on one lab for all
 * of them, and at last those that stop parts of it under everybody. A lab that runs already is used, and left as it is;
 * what a lab left that ended with the machine is cleared away first.
 */
async function runLabTests(env, why) {
  const results = [];
  const known = why === undefined ? readState() : undefined;
  const runs = known !== undefined && (await isAlive(known));
  if (known !== undefined && !runs && !(await runLab(['down'])).ok) results.push(failedCheck('scripts/lab down'));
  results.push(await runJest(env, LAB_SUITES.lifecycle, 1));
  const ours = why === undefined && !runs;
  labIsOurs = ours;
  if (ours && !(await runLab(['up'])).ok) results.push(failedCheck('scripts/lab up'));
  const others = ['--testPathIgnorePatterns', ...LAB_SUITES.outages];
  results.push(await runJest(env, [...LAB_SUITES.e2e, ...others]));
  results.push(await runJest(env, LAB_SUITES.outages, 1));
  if (ours && !(await runLab(['down'])).ok) results.push(failedCheck('scripts/lab down'));
  labIsOurs = false;
  return results;
}

/** What runs apart from the other tests, as jest's arguments. */
const LAB_SUITES = {
  lifecycle: ['test/lab/lifecycle.test.ts'],
  e2e: ['test/e2e/'],
  outages: ['test/e2e/outages.test.ts'],
};

function failedCheck(name) {
  return { passed: 0, failed: [name], skipped: [], ran: 1 };
}

/** Tests wait for servers, soaks and pods most of the time: three files side by side keep two cores busy. */
async function runJest(env, args, workers = 3) {
  mkdirSync(path.dirname(report), { recursive: true });
  rmSync(report, { force: true });
  let watch;
  const result = await runNode(
    ['node_modules/jest/bin/jest.js', `--maxWorkers=${workers}`, '--json', `--outputFile=${report}`, ...args],
    {
      env,
      onStart: (child) => {
        let seen = 0;
        watch = setInterval(() => {
          if (existsSync(report)) seen += 1;
          if (seen === EXIT_GRACE_S) {
            say(`jest did not end within ${EXIT_GRACE_S} s after its last test: a test left something open`);
            child.kill('SIGKILL');
          }
        }, 1000);
      },
    },
  );
  clearInterval(watch);
  if (!existsSync(report)) {
    say(`jest ended with ${result.signal ?? `code ${result.code}`} and without a report`);
    return { passed: 0, failed: ['jest (no report)'], skipped: [], ran: 0 };
  }
  const json = JSON.parse(readFileSync(report, 'utf8'));
  rmSync(report, { force: true });
  const failed = [];
  const skipped = [];
  for (const suite of json.testResults) {
    const file = path.relative(root, suite.name);
    // A file that cannot even be loaded has no tests to count, but is not nothing.
    if (suite.status === 'failed' && !suite.assertionResults.some((test) => test.status === 'failed')) {
      failed.push(`${file}: the file itself${inShort([suite.message])}`);
    }
    for (const test of suite.assertionResults) {
      if (test.status === 'failed') failed.push(`${file}: ${test.fullName}${inShort(test.failureMessages)}`);
      if (['pending', 'skipped', 'todo', 'disabled'].includes(test.status)) skipped.push(`${file}: ${test.fullName}`);
    }
  }
  if (!result.ok && failed.length === 0) failed.push(`jest itself (${result.signal ?? `code ${result.code}`})`);
  return { passed: json.numPassedTests, failed, skipped, ran: json.numPassedTests + json.numFailedTests };
}

const LINES_OF_A_FAILURE = 12;

/** The first lines of why a test failed, so that the end of a long log says it. */
function inShort(messages) {
  const lines = messages
    .join('\n')
    // The colours that jest puts into its messages.
    .replace(/\u001b\[[0-9;]*m/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(0, LINES_OF_A_FAILURE);
  return lines.map((line) => `\n      ${line}`).join('');
}

async function main() {
  const args = process.argv.slice(2);
  const fetching = servers().then(
    (env) => ({ env }),
    (error) => ({ error }),
  );
  const everything = args.length === 0;
  const why = everything ? whyNoLab() : undefined;
  const building = everything ? buildLab(why) : Promise.resolve(true);
  const checks = everything ? await staticChecks() : [];
  const { env, error } = await fetching;
  let passed = checks.filter((check) => check.ok).length;
  const failed = checks.filter((check) => !check.ok).map((check) => check.name);
  const skipped = [];
  if (error !== undefined) {
    say(error.message);
    if (error.hint !== undefined) say(error.hint);
    failed.push('set-up of the servers that the tests need');
    for (const child of children) child.kill('SIGTERM');
  } else {
    // Not beside the build: tests that wait for something would wait for a busy compiler.
    if (!(await building)) failed.push('set-up of the lab');
    say('tests ...');
    const apart = Object.values(LAB_SUITES).flat();
    const runs = [await runJest(env, everything ? ['--testPathIgnorePatterns', '/node_modules/', ...apart] : args)];
    if (everything) runs.push(...(await runLabTests(env, why)));
    for (const tests of runs) {
      passed += tests.passed;
      failed.push(...tests.failed);
      skipped.push(...tests.skipped);
    }
    if (runs.every((tests) => tests.ran === 0 && tests.failed.length === 0)) failed.push('no test ran');
  }
  for (const [title, names] of [
    ['Skipped', skipped],
    ['Failed', failed],
  ]) {
    if (names.length > 0) console.log(`\n${title}:\n${names.map((name) => `  - ${name}`).join('\n')}`);
  }
  console.log(`\n${passed} passed, ${failed.length} failed${skipped.length > 0 ? `, ${skipped.length} skipped` : ''}`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
]) {
  process.once(signal, () => {
    for (const child of children) child.kill(signal);
    if (labIsOurs) spawnSync(process.execPath, [...LAB, 'down'], { cwd: root, stdio: 'inherit' });
    process.exit(code);
  });
}

main().catch((error) => {
  console.log(error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
});
