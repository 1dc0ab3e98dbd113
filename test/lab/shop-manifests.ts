import { GATEWAY_CLASS } from './layout';

/** A Kubernetes object as it is written to the API. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

export interface ShopOptions {
  readonly namespace: string;
  /** The whole image reference. */
  readonly image: string;
  readonly replicas: number;
  /** A listener must name the port of Traefik's entry point. */
  readonly listenerPort: number;
}

/** The host by which the gateway leads to the shop of a namespace. */
export function shopHost(namespace: string): string {
  return `${namespace}.example`;
}

/** An ordinary service, ready to be released: what a user has before Sluice comes. */
export function shopManifests({ namespace, image, replicas, listenerPort }: ShopOptions): readonly Manifest[] {
  const labels = { app: 'shop' };
  const named = (name: string) => ({ name, namespace });
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { ...named('shop'), labels },
      spec: {
        replicas,
        selector: { matchLabels: labels },
        progressDeadlineSeconds: 60,
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        template: {
          metadata: { labels, annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' } },
          spec: {
            // Longer than the shop serves after SIGTERM.
            terminationGracePeriodSeconds: 15,
            automountServiceAccountToken: false,
            containers: [
              {
                name: 'shop',
                image,
                ports: [{ name: 'http', containerPort: 8080 }],
                readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1, timeoutSeconds: 2 },
                livenessProbe: { httpGet: { path: '/livez', port: 'http' }, periodSeconds: 5, timeoutSeconds: 5 },
                resources: { requests: { cpu: '5m', memory: '16Mi' }, limits: { memory: '64Mi' } },
                securityContext: {
                  runAsNonRoot: true,
                  allowPrivilegeEscalation: false,
                  capabilities: { drop: ['ALL'] },
                },
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: named('shop'),
      spec: { selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'Gateway',
      metadata: named('shop'),
      spec: { gatewayClassName: GATEWAY_CLASS, listeners: [{ name: 'web', protocol: 'HTTP', port: listenerPort }] },
    },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: named('shop'),
      spec: {
        parentRefs: [{ name: 'shop' }],
        hostnames: [shopHost(namespace)],
        rules: [{ backendRefs: [{ name: 'shop', port: 80 }] }],
      },
    },
  ];
}
