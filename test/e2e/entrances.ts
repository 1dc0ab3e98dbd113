import type { Cluster } from '../../src/targets/kubernetes/cluster';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import { GrpcCaller } from '../lab/grpc';
import type { Lab } from '../lab/lab';
import type { Nginx } from '../lab/parts';
import { ask } from '../lab/shop';
import { shopHost } from '../lab/shop-manifests';
import { NginxPlane, readInput } from '../nginx/plane';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';

/** Where requests come in. */
export interface Entrance {
  readonly url: string;
  /** The Host header that leads to the shop; of gRPC its authority. */
  readonly host: string;
  /** HTTP by default. */
  readonly speaks?: 'grpc';
}

/** Another way into the shop than its HTTPRoute. */
export interface Way {
  /** Makes what splits the traffic. */
  prepare(shop: LabShop): Promise<void>;
  /** Ends when each entrance leads to the shop; `leave` when nobody asks any more. */
  enter(shop: LabShop): Promise<{ readonly entrances: readonly Entrance[]; leave(): Promise<void> }>;
}

/** By a GRPCRoute, through the lab's gateway, to a port of the shop that speaks gRPC over HTTP/2 in plain text. */
export function byGrpc(lab: Lab): Way {
  return {
    prepare: async (shop) => {
      const port = { name: 'grpc', port: GRPC_PORT, targetPort: GRPC_PORT, appProtocol: 'kubernetes.io/h2c' };
      await shop.patch('Service', [{ op: 'add', path: '/spec/ports/-', value: port }]);
      await shop.create(grpcRoute(grpcHost(shop)));
    },
    enter: async (shop) => {
      const host = grpcHost(shop);
      const caller = new GrpcCaller(lab.gatewayUrl, host);
      try {
        const leads = async (): Promise<boolean> => (await caller.browse()).version === 'v1';
        await eventually(leads, 'the GRPCRoute leads to the shop');
      } finally {
        caller.close();
      }
      return { entrances: [{ url: lab.gatewayUrl, host, speaks: 'grpc' }], leave: () => Promise.resolve() };
    },
  };
}

/** The authority by which a GRPCRoute leads to the shop of a namespace. */
export function grpcHost({ namespace }: Pick<LabShop, 'namespace'>): string {
  return `grpc.${namespace}.example`;
}

/** Where the shop's pods speak gRPC (../lab/shop/main.go). */
const GRPC_PORT = 50_051;

function grpcRoute(host: string): KubernetesObject {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'GRPCRoute',
    metadata: { name: 'shop' },
    spec: {
      parentRefs: [{ name: 'shop' }],
      hostnames: [host],
      rules: [{ backendRefs: [{ name: 'shop', port: GRPC_PORT }] }],
    },
  };
}

/** By the shop's own HTTPRoute, which every shop has. */
export function byGateway(lab: Lab): Way {
  return {
    prepare: () => Promise.resolve(),
    enter: ({ namespace }) =>
      Promise.resolve({
        entrances: [{ url: lab.gatewayUrl, host: shopHost(namespace) }],
        leave: () => Promise.resolve(),
      }),
  };
}

/** By a TraefikService, one of Traefik's own kinds, through the lab's gateway. */
export function byTraefik(lab: Lab): Way {
  const hostOf = ({ namespace }: LabShop): string => `traefik.${namespace}.example`;
  return {
    prepare: async (shop) => {
      for (const object of traefikObjects(hostOf(shop))) await shop.create(object);
    },
    enter: async (shop) => {
      const host = hostOf(shop);
      await eventually(async () => (await ask(lab, host)).version === 'v1', 'the IngressRoute leads to the shop');
      return { entrances: [{ url: lab.gatewayUrl, host }], leave: () => Promise.resolve() };
    },
  };
}

function traefikObjects(host: string): readonly KubernetesObject[] {
  const apiVersion = 'traefik.io/v1alpha1';
  const weighted = { services: [{ name: 'shop', port: 80, weight: 1 }] };
  const rule = { match: `Host(\`${host}\`)`, kind: 'Rule', services: [{ name: 'shop', kind: 'TraefikService' }] };
  return [
    { apiVersion, kind: 'TraefikService', metadata: { name: 'shop' }, spec: { weighted } },
    { apiVersion, kind: 'IngressRoute', metadata: { name: 'shop' }, spec: { entryPoints: ['web'], routes: [rule] } },
  ];
}

/** By Ingresses and their canary annotations, each an entrance, through a real nginx that follows them. */
export function byNginx(nginx: Nginx, cluster: Cluster, ingresses: readonly string[] = ['shop']): Way {
  const hostOf = (ingress: string, { namespace }: LabShop): string => `${ingress}.${namespace}.example`;
  return {
    prepare: async (shop) => {
      for (const name of ingresses) await shop.create(ingressObject(name, hostOf(name, shop)));
    },
    enter: async (shop) => {
      const input = await readInput(cluster, shop.namespace, AbortSignal.timeout(20_000));
      const plane = await NginxPlane.start(nginx, input);
      const stopFollowing = plane.follow(cluster, shop.namespace);
      return {
        entrances: ingresses.map((name) => ({ url: plane.url, host: hostOf(name, shop) })),
        leave: async () => {
          await stopFollowing();
          await plane.stop();
        },
      };
    },
  };
}

function ingressObject(name: string, host: string): KubernetesObject {
  const backend = { service: { name: 'shop', port: { number: 80 } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix', backend }] };
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: { name },
    spec: { ingressClassName: 'nginx', rules: [{ host, http }] },
  };
}

/**
 * Where pods are taken away that get traffic to the last moment: they serve until the gateway, which may have much to do,
 * has heard of it.
 */
export async function servesLonger(shop: LabShop): Promise<void> {
  const env = [{ name: 'SHOP_DRAIN_S', value: '12' }];
  await shop.patch('Deployment', [{ op: 'add', path: '/spec/template/spec/containers/0/env', value: env }]);
  await shop.settled();
}
