import { get } from 'node:http';
import { ReleaseError } from '../../src/errors';
import type { Lab } from './lab';
import { until } from './processes';
import { shopHost, shopManifests } from './shop-manifests';
import { SHOP_VERSIONS } from './shop-images';
import type { ShopVersion } from './shop-images';
import { execute } from './tell';

export interface ShopRequest {
  /** Made when it is not there. */
  readonly namespace: string;
  /** Default: v1. */
  readonly version?: ShopVersion;
  /** Default: 2. */
  readonly replicas?: number;
}

/** A shop that answers at the gateway. */
export interface Shop {
  readonly namespace: string;
  /** The Host header that leads there. */
  readonly host: string;
  /** Address of the gateway. */
  readonly url: string;
}

/** The reference of one of the shop's images in the lab's registry. */
export function shopImage(lab: Lab, version: ShopVersion): string {
  return `${lab.registry}/shop:${version}`;
}

/** Makes the sample shop in a namespace, and waits until the gateway gives its answers. */
export async function makeShop(lab: Lab, request: ShopRequest): Promise<Shop> {
  const { namespace, version = 'v1', replicas = 2 } = request;
  const host = shopHost(namespace);
  const manifests = shopManifests({
    namespace,
    image: shopImage(lab, version),
    replicas,
    listenerPort: lab.listenerPort,
  });
  for (const manifest of manifests) {
    await kubectl(lab, ['apply', '--server-side', '-f', '-'], JSON.stringify(manifest));
  }
  await kubectl(lab, ['rollout', 'status', 'deployment/shop', '-n', namespace, '--timeout=120s']);
  await until(`the gateway leads ${host} to ${version}`, async () => (await ask(lab, host)).version === version);
  return { namespace, host, url: lab.gatewayUrl };
}

/** Removes a namespace and everything in it, and waits until it is gone. */
export async function removeShop(lab: Lab, namespace: string): Promise<void> {
  await kubectl(lab, ['delete', 'namespace', namespace, '--ignore-not-found', '--wait=true', '--timeout=120s']);
}

export interface Answer {
  readonly status: number;
  /** The version that answered, by its header; undefined when it was not the shop. */
  readonly version: string | undefined;
}

/** One request through the gateway. */
export function ask(lab: Pick<Lab, 'gatewayUrl'>, host: string, path = '/'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    // fetch does not let the Host header be set.
    const request = get(`${lab.gatewayUrl}${path}`, { headers: { host }, timeout: 10_000 }, (response) => {
      response.resume();
      const version = response.headers['x-version'];
      response.once('end', () =>
        resolve({ status: response.statusCode ?? 0, version: typeof version === 'string' ? version : undefined }),
      );
    });
    request.once('timeout', () => request.destroy(new Error(`no answer for ${host} within 10 s`)));
    request.once('error', reject);
  });
}

export function isShopVersion(name: string): name is ShopVersion {
  return Object.hasOwn(SHOP_VERSIONS, name);
}

/** Checks the name of a namespace before anything is made. */
export function checkNamespace(name: string): void {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/u.test(name)) return;
  throw new ReleaseError('usage', `'${name}' is no name for a namespace.`, {
    hint: 'Use up to 63 lower-case letters, digits and dashes, with a letter or digit at both ends.',
  });
}

async function kubectl(lab: Lab, args: readonly string[], input?: string): Promise<void> {
  await execute(lab.kubectl, ['--kubeconfig', lab.kubeconfig, ...args], input === undefined ? {} : { input });
}
