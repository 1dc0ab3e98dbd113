/**
 * Bundles the compiled workflows into one file, which workers load as it is: a worker then starts without a bundler,
 * and every worker of a version runs exactly the same workflow code.
 */
const { renameSync, writeFileSync, existsSync } = require('node:fs');
const path = require('node:path');

const root = path.resolve(__dirname, '../..');
const workflowsPath = path.join(root, 'dist/workflows/index.js');
const interceptors = path.join(root, 'dist/workflows/interceptors.js');
const target = path.join(root, 'dist/workflow-bundle.js');

/** The bundler reports every module it reads; only what a person has to act on is worth a line. */
const logger = {
  log: (level, message, meta) => {
    if (level === 'WARN' || level === 'ERROR') console.error(message, meta ?? '');
  },
  trace: () => {},
  debug: () => {},
  info: () => {},
  warn: (message, meta) => console.error(message, meta ?? ''),
  error: (message, meta) => console.error(message, meta ?? ''),
};

async function main() {
  if (!existsSync(workflowsPath)) {
    throw new Error('dist/workflows/index.js is not there: compile first (npx tsc -p tsconfig.build.json).');
  }
  const { bundleWorkflows } = require('../../dist/worker/workflow-bundle.js');
  const { code } = await bundleWorkflows({ workflowsPath, workflowInterceptorModules: [interceptors], logger });
  // Under another name first: a worker that starts at this moment reads the old bundle or the new one, never half.
  writeFileSync(`${target}.${process.pid}`, code);
  renameSync(`${target}.${process.pid}`, target);
}

main().catch((error) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
