import { ReleaseError } from '../../errors';
import { kubernetesDemoSpec, writeDemoSpec } from './demo-spec';
import { startLoad } from './load';
import type { Stage, StageSetUp } from './stage';

const REQUESTS_PER_SECOND = 60;
/** Pods come and go, on a machine that may be busy with all of a cluster. */
const MAX_LOAD_MS = 1_800_000;
const MAX_RELEASE_MS = 600_000;

/** The shop that scripts/demo has made in a cluster, as the environment says. */
export interface ClusterShop {
  readonly namespace: string;
  /** The Host header that leads there. */
  readonly host: string;
  readonly gatewayUrl: string;
  readonly prometheusUrl: string;
  /** `host:port/shop`: an image without its tag. */
  readonly image: string;
}

/** Where the pieces of it are named; scripts/demo and scripts/lab set them. */
const VARIABLES = {
  namespace: 'SLUICE_DEMO_NAMESPACE',
  host: 'SLUICE_DEMO_HOST',
  gatewayUrl: 'SLUICE_LAB_GATEWAY_URL',
  prometheusUrl: 'SLUICE_LAB_PROMETHEUS_URL',
  image: 'SLUICE_DEMO_IMAGE',
} as const satisfies Record<keyof ClusterShop, string>;

/** @throws ReleaseError `usage` where a part is not named. */
export function readClusterShop(env: NodeJS.ProcessEnv): ClusterShop {
  const read = (name: string): string => {
    const value = env[name];
    if (value !== undefined && value !== '') return value;
    throw new ReleaseError('usage', `There is no shop in a cluster to release: ${name} is not set.`, {
      hint: '`./scripts/demo --kubernetes`, in a checkout of Sluice, brings up a cluster with one and sets it.',
    });
  };
  const gatewayUrl = read(VARIABLES.gatewayUrl).replace(/\/+$/u, '');
  // The demo makes load, and nobody's network is meant to bear it.
  if (!/^http:\/\/127\.0\.0\.1:\d+$/u.test(gatewayUrl)) {
    throw new ReleaseError(
      'usage',
      `${VARIABLES.gatewayUrl} is ${gatewayUrl}, and the demo sends its load to loopback.`,
      {
        hint: 'Allowed: http://127.0.0.1:PORT, for example by kubectl port-forward.',
      },
    );
  }
  return {
    namespace: read(VARIABLES.namespace),
    host: read(VARIABLES.host),
    gatewayUrl,
    prometheusUrl: read(VARIABLES.prometheusUrl),
    image: read(VARIABLES.image),
  };
}

/** The shop as pods of a real cluster, behind its gateway. */
export async function setKubernetesStage({ session, report, started }: StageSetUp): Promise<Stage> {
  const shop = readClusterShop(session.cli.env);
  const { namespace, host, gatewayUrl } = shop;
  report.setUp(`Shop: v1 in namespace ${namespace}, at ${gatewayUrl} as ${host}`, { namespace, host, gatewayUrl });

  const spec = await started.keep(writeDemoSpec(kubernetesDemoSpec(shop)), (file) => file.remove());
  let canary = '';
  const load = startLoad({
    urls: [gatewayUrl],
    path: '/',
    perSecond: REQUESTS_PER_SECOND,
    maxMs: MAX_LOAD_MS,
    headers: () => ({ host }),
    // Whoever answers without a version is the gateway itself, which has nobody to answer.
    cohortOf: ({ 'x-version': version }) => {
      if (typeof version !== 'string') return null;
      return version === canary ? 'canary' : 'stable';
    },
  });
  await started.keep(Promise.resolve(load), (generator) => generator.stop());
  report.setUp(`Load: ${REQUESTS_PER_SECOND} requests a second through the gateway`, {
    perSecond: REQUESTS_PER_SECOND,
  });
  return {
    load,
    specPath: spec.path,
    workerEnv: {},
    versionOf: (version) => `${shop.image}:${version}`,
    releasing: (version) => {
      canary = version;
    },
    maxReleaseMs: MAX_RELEASE_MS,
  };
}
