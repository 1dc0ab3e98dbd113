import type { Manifest } from '../manifest-yaml';
import type { InitSettings } from './settings';
import { LABELS, SERVICE_PORT, trackName } from './workloads';

/** The file and the objects that users' requests are split by; none where that is the Service itself. */
export function routing(
  settings: InitSettings,
): { readonly file: string; readonly manifests: readonly Manifest[] } | null {
  const { name, namespace } = settings;
  const metadata = { name, namespace, labels: { [LABELS.name]: name } };
  switch (settings.traffic) {
    case 'gatewayAPI':
      return { file: 'httproute.yaml', manifests: [httpRoute(settings, metadata)] };
    case 'nginx':
      return { file: 'ingress.yaml', manifests: [ingress(settings, metadata)] };
    case 'traefik':
      return {
        file: 'traefik.yaml',
        manifests: [traefikService(settings, metadata), ingressRoute(settings, metadata)],
      };
    case 'istio':
      return { file: 'virtualservice.yaml', manifests: [virtualService(settings, metadata)] };
    case 'serviceSelector':
    case 'replicas':
      return null;
  }
}

const BY_RELEASES = 'The weights are those without a release; releases change them and put them back.';

function httpRoute(settings: InitSettings, metadata: object): Manifest {
  const { host, gateway } = settings;
  const parent = gateway === null ? {} : { name: gateway.name };
  const namespace = gateway?.namespace ?? null;
  return {
    comment: BY_RELEASES,
    object: {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata,
      spec: {
        parentRefs: [{ ...parent, ...(namespace === null ? {} : { namespace }) }],
        ...(host === null ? {} : { hostnames: [host] }),
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/' } }],
            backendRefs: weighted(settings).map((backend) => ({ ...backend, port: SERVICE_PORT })),
          },
        ],
      },
    },
  };
}

function ingress({ name, host }: InitSettings, metadata: object): Manifest {
  return {
    comment: [
      'The class is that of ingress-nginx; others that read its annotations have their own. A release makes a twin of this',
      'Ingress for the canary, and takes it away at its end.',
    ].join('\n'),
    object: {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'Ingress',
      metadata,
      spec: {
        ingressClassName: 'nginx',
        rules: [
          {
            ...(host === null ? {} : { host }),
            http: {
              paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name, port: { name: 'http' } } } }],
            },
          },
        ],
      },
    },
  };
}

function traefikService(settings: InitSettings, metadata: object): Manifest {
  // Traefik drops the whole of one that names a Service without pods, as the canary's is without a release.
  const services = [{ name: settings.name, weight: 100, port: SERVICE_PORT }];
  return {
    comment: 'Releases add the other track while it has a share, and take it out again.',
    object: { apiVersion: 'traefik.io/v1alpha1', kind: 'TraefikService', metadata, spec: { weighted: { services } } },
  };
}

function ingressRoute({ name, host }: InitSettings, metadata: object): Manifest {
  return {
    comment: "On all of Traefik's entry points; name some of them where that is too many.",
    object: {
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'IngressRoute',
      metadata,
      spec: {
        routes: [{ match: `Host(\`${host ?? name}\`)`, kind: 'Rule', services: [{ name, kind: 'TraefikService' }] }],
      },
    },
  };
}

function virtualService(settings: InitSettings, metadata: object): Manifest {
  const { name, namespace, host, gateway } = settings;
  const address = (service: string): string => `${service}.${namespace}.svc.cluster.local`;
  const through = gateway === null ? {} : { gateways: [[gateway.namespace ?? namespace, gateway.name].join('/')] };
  return {
    comment: BY_RELEASES,
    object: {
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata,
      spec: {
        hosts: [host ?? address(name)],
        ...through,
        http: [
          {
            route: weighted(settings).map((backend) => ({
              destination: { host: address(backend.name), port: { number: SERVICE_PORT } },
              weight: backend.weight,
            })),
          },
        ],
      },
    },
  };
}

/** Of a pair the active Service alone: which colour is the other one changes with each release, and it adds that itself. */
function weighted({ name, strategy }: InitSettings): { readonly name: string; readonly weight: number }[] {
  const active = { name, weight: 100 };
  return strategy === 'blueGreen' ? [active] : [active, { name: trackName(name, 'canary'), weight: 0 }];
}
