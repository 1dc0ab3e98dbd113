import { randomBytes } from 'node:crypto';
import { RouterHeaders } from '../../router/protocol';
import { writeDemoSpec, routerDemoSpec } from './demo-spec';
import { startLoad } from './load';
import { startShopProcess } from './shop-process';
import type { ShopProcess } from './shop-process';
import type { Stage, StageSetUp } from './stage';

const REQUESTS_PER_SECOND = 150;
const USERS = 2000;
/** What the demo promises, however badly it goes: an end within three minutes after its set-up. */
const MAX_DEMO_MS = 180_000;
/** The load ends by itself after that. */
const MAX_LOAD_MS = MAX_DEMO_MS;
/** Of each of the two releases; the rest is for the last answers and the ends of the processes. */
const MAX_RELEASE_MS = 85_000;

/** A shop in two instances on this machine, each with the in-app router. */
export async function setRouterStage({ report, started }: StageSetUp): Promise<Stage> {
  // Of this demo alone: it is never written anywhere.
  const token = randomBytes(24).toString('base64url');
  const start = (): Promise<ShopProcess> => started.keep(startShopProcess(token), (shop) => shop.stop());
  const shops = await Promise.all([start(), start()]);
  const urls = shops.map(({ url }) => url);
  report.setUp(`Shop: v1 at ${urls.join(' and ')}`, { instances: urls });

  const spec = await started.keep(writeDemoSpec(routerDemoSpec(urls)), (file) => file.remove());
  const load = startLoad({
    urls,
    path: '/checkout',
    perSecond: REQUESTS_PER_SECOND,
    maxMs: MAX_LOAD_MS,
    headers: () => ({ 'x-user-id': `user-${Math.floor(Math.random() * USERS)}` }),
    cohortOf: (answer) => {
      const cohort = answer[RouterHeaders.cohort.toLowerCase()];
      return cohort === 'stable' || cohort === 'canary' ? cohort : null;
    },
  });
  await started.keep(Promise.resolve(load), (generator) => generator.stop());
  report.setUp(`Load: ${REQUESTS_PER_SECOND} requests a second by ${USERS} users`, {
    perSecond: REQUESTS_PER_SECOND,
    users: USERS,
  });
  return {
    load,
    specPath: spec.path,
    workerEnv: { SLUICE_ROUTER_TOKEN: token },
    versionOf: (version) => version,
    releasing: () => undefined,
    maxReleaseMs: MAX_RELEASE_MS,
  };
}
