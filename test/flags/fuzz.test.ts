import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeWithPython, flagsPython } from './flags-python';
import { ofrepDocument } from './ofrep-schema';
import { serveFlags, stopServers } from './serve';
import { send } from './support';

const KEY = 'a-key-of-this-test-alone';
const HEADERS = { authorization: `Bearer ${KEY}` };
/** Made-up requests of each operation beside those that look at its bounds one by one; the same in each run. */
const EXAMPLES = 10;
/** For the many bounds of the REST endpoints, beside the start; a slow machine asks less in it. */
const REST_SECONDS = 30;
const PATIENCE_MS = 240_000;

/**
 * Of the REST endpoints. A request may be valid by the document and yet come too late or once too often: 412 and 422.
 * What its schemas do not say is that a flag's variants are among its values, which variants a flag has for an outcome,
 * which cursors were given out, and that a ruleset is not sent again (304): there a refusal of what looks valid is no failure.
 */
const REST = `
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422]

[[operations]]
include-operation-id = ["createFlag", "updateFlag", "postOutcomes", "listFlags", "ruleset"]
checks.positive_data_acceptance.enabled = false
`;

/** Of OFREP. Which flags depend on a user, and what an environment is called, is nothing that its document says. */
const OFREP = `
[checks.positive_data_acceptance]
enabled = false
`;

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-fuzz-'));
});
afterEach(async () => {
  await stopServers();
  await rm(folder, { recursive: true, force: true });
});

/** What Schemathesis says of a service; its own words are the failure's. */
async function fuzz(location: string, { url, config, more = [] }: { url: string; config: string; more?: string[] }) {
  const settings = join(folder, 'schemathesis.toml');
  await writeFile(settings, config);
  const args = [
    ...['-m', 'schemathesis.cli', '--config-file', settings, 'run', location, '--url', url],
    ...['--header', `Authorization: Bearer ${KEY}`, '--max-examples', String(EXAMPLES)],
    ...['--generation-deterministic', '--continue-on-failure', '--phases', 'examples,coverage,fuzzing'],
    ...['--suppress-health-check', 'all', '--warnings', 'off', '--no-color'],
    ...more,
  ];
  return new Promise<{ code: number; said: string }>((resolve, reject) => {
    const options = { cwd: folder, timeout: PATIENCE_MS - 20_000, maxBuffer: 64 * 2 ** 20 };
    execFile(flagsPython, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, said: stdout });
      else if (typeof error.code === 'number') resolve({ code: error.code, said: `${stdout}${stderr}` });
      else reject(new Error(`Schemathesis came to no end: ${error.message}`, { cause: error }));
    });
  });
}

const FLAGS = [
  { name: 'new-checkout', enabled: true, rollout_percentage: 50 },
  { name: 'everybody', enabled: true },
];

describeWithPython('what Schemathesis makes of', () => {
  it(
    'the REST endpoints by their own document',
    async () => {
      const access = { adminKey: KEY };
      const { url } = await serveFlags(FLAGS, { access }, HEADERS);
      const document = join(folder, 'openapi.json');
      const { body } = await send(`${url}/api/openapi.json`, 'GET', { headers: HEADERS });
      await writeFile(document, JSON.stringify(body));

      const { code, said } = await fuzz(document, { url, config: REST, more: ['--max-time', String(REST_SECONDS)] });

      expect(code === 0 ? '' : said).toBe('');
      expect(said).toMatch(/Selected: (\d+)\/\1\n\s*Tested: [1-9]/);
    },
    PATIENCE_MS,
  );

  it(
    'OFREP by its document',
    async () => {
      const { url } = await serveFlags(FLAGS, { access: { adminKey: KEY } }, HEADERS);
      const document = join(folder, 'ofrep.json');
      await writeFile(document, JSON.stringify(ofrepDocument()));

      const { code, said } = await fuzz(document, { url, config: OFREP });

      expect(code === 0 ? '' : said).toBe('');
      expect(said).toMatch(/Selected: 2\/2\n\s*Tested: 2\n/);
    },
    PATIENCE_MS,
  );
});
