/* eslint-disable @typescript-eslint/no-require-imports -- The suites are defined by being loaded, within a describe. */
import { createReleaseService } from '../../src/server/release-service';
import { FakeSluice } from '../cli/fake-client';
import { serveAlwaysWith } from '../flags/serve';
import { silentLogger } from '../flags/support';

// Each service of these suites has the endpoints of releases beside its own.
serveAlwaysWith(() => ({
  beside: createReleaseService({ connect: () => Promise.resolve(new FakeSluice()), logger: silentLogger }).beside,
}));

describe('the flag service on the server', () => {
  require('../flags/rest.test');
  require('../flags/access.test');
  require('../flags/hot-path.test');
  require('../flags/ofrep.test');
});
