import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openSqliteFlagStore } from '../../src/flags/sqlite-store';
import type { FlagStore } from '../../src/flags/store';
import { describeWithPython } from './flags-python';
import { ofrepDocument } from './ofrep-schema';
import { fuzz, PATIENCE_MS } from './schemathesis';
import { serveFlags, stopServers } from './serve';
import { send } from './support';

const KEY = 'a-key-of-this-test-alone';
const HEADERS = { authorization: `Bearer ${KEY}` };
/** For the many bounds of the REST endpoints, beside the start; a slow machine asks less of each in it, but of each. */
const REST_SECONDS = 60;

/**
 * Of the REST endpoints. A request may be valid by the document and yet come too late or once too often: 412 and 422.
 * What its schemas do not say is that a flag's variants are among its values, which variants a flag has for an outcome,
 * which cursors were given out, and that a ruleset is not sent again (304): there a refusal of what looks valid is no failure.
 */
const REST = `
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409, 412, 422]

[[operations]]
include-operation-id = ["createFlag", "updateFlag", "postOutcomes", "listFlags", "flagAudit", "audit", "ruleset"]
checks.positive_data_acceptance.enabled = false
`;

/** Of OFREP. Which flags depend on a user, and what an environment is called, is nothing that its document says. */
const OFREP = `
[checks.positive_data_acceptance]
enabled = false
`;

const folder = mkdtempSync(join(tmpdir(), 'sluice-fuzzed-'));
let files = 0;

/** The default store, which made-up texts and numbers reach as SQL's parameters. */
function storeInFile(): FlagStore {
  files += 1;
  return openSqliteFlagStore({ path: join(folder, `${files}.db`) });
}

afterEach(stopServers);
afterAll(() => rmSync(folder, { recursive: true }));

const FLAGS = [
  { name: 'new-checkout', enabled: true, rollout_percentage: 50 },
  { name: 'everybody', enabled: true },
];

describeWithPython('what Schemathesis makes of', () => {
  it(
    'the REST endpoints by their own document',
    async () => {
      const access = { adminKey: KEY };
      const { url } = await serveFlags(FLAGS, { access, store: storeInFile() }, HEADERS);
      const { body } = await send(`${url}/api/openapi.json`, 'GET', { headers: HEADERS });

      const more = ['--max-time', String(REST_SECONDS)];
      const { code, said } = await fuzz(body, { url, key: KEY, config: REST, more });

      expect(code === 0 ? '' : said).toBe('');
      expect(said).toMatch(/Selected: (\d+)\/\1\n\s*Tested: \1\n/);
    },
    PATIENCE_MS,
  );

  it(
    'OFREP by its document',
    async () => {
      const { url } = await serveFlags(FLAGS, { access: { adminKey: KEY }, store: storeInFile() }, HEADERS);

      const { code, said } = await fuzz(ofrepDocument(), { url, key: KEY, config: OFREP });

      expect(code === 0 ? '' : said).toBe('');
      expect(said).toMatch(/Selected: 2\/2\n\s*Tested: 2\n/);
    },
    PATIENCE_MS,
  );
});
