import { FakeSluice } from '../cli/fake-client';
import { aRolledBackStatus } from '../cli/statuses';
import { describeWithPython } from '../flags/flags-python';
import { fuzz, PATIENCE_MS } from '../flags/schemathesis';
import { ADMIN, keysOf, serveReleases, stopReleaseServers } from './serve';

/** For the bounds of all endpoints, beside the start; a slow machine asks less in it. */
const SECONDS = 30;

/**
 * A message that is valid by the document may come to a release that stands otherwise (409) or is not there (404). What is
 * a spec, and that a version is given once, its schema does not say.
 */
const SETTINGS = `
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 401, 403, 404, 409]

[[operations]]
include-operation-id = ["startRelease"]
checks.positive_data_acceptance.enabled = false
`;

afterEach(stopReleaseServers);

describeWithPython('what Schemathesis makes of the endpoints of releases', () => {
  it(
    'by the document that the server publishes',
    async () => {
      // A release that is over: its event stream ends.
      const { url, document } = await serveReleases(new FakeSluice(aRolledBackStatus()), keysOf({}));

      const more = ['--include-path-regex', '^/api/releases', '--max-time', String(SECONDS)];
      const { code, said } = await fuzz(document, { url, key: ADMIN, config: SETTINGS, more });

      expect(code === 0 ? '' : said).toBe('');
      expect(said).toMatch(/Tested: [1-9]/);
    },
    PATIENCE_MS,
  );
});
