import { GATEWAY_CLASS, Versions } from './layout';
import type { Manifest } from './shop-manifests';

/** The node ports that kind leads to this machine's loopback, and the port that the listeners of Gateways name. */
export const KindPorts = { gateway: 30080, prometheus: 30090, listener: 8000 } as const;

const NAMESPACE = 'sluice-lab';

/** What the lab's programs are elsewhere: Traefik and Prometheus, as pods of the cluster. */
export function kindManifests(): readonly Manifest[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GatewayClass',
      metadata: { name: GATEWAY_CLASS },
      spec: { controllerName: 'traefik.io/gateway-controller' },
    },
    ...program({
      name: 'traefik',
      image: `docker.io/library/traefik:v${Versions.traefik}`,
      args: [
        `--entrypoints.web.address=:${KindPorts.listener}`,
        '--providers.kubernetesgateway=true',
        '--providers.kubernetescrd=true',
        '--global.checknewversion=false',
        '--global.sendanonymoususage=false',
      ],
      port: KindPorts.listener,
      nodePort: KindPorts.gateway,
    }),
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'prometheus', namespace: NAMESPACE },
      data: { 'prometheus.yml': JSON.stringify(prometheusConfig()) },
    },
    ...program({
      name: 'prometheus',
      image: 'docker.io/prom/prometheus:v2.55.1',
      args: ['--config.file=/etc/prometheus/prometheus.yml'],
      port: 9090,
      nodePort: KindPorts.prometheus,
      configMap: { name: 'prometheus', path: '/etc/prometheus' },
    }),
  ];
}

interface Program {
  readonly name: string;
  readonly image: string;
  readonly args: readonly string[];
  readonly port: number;
  readonly nodePort: number;
  readonly configMap?: { readonly name: string; readonly path: string };
}

/** A Deployment that may see and do everything, as its counterpart on the lab may, and a port of the node. */
function program({ name, image, args, port, nodePort, configMap }: Program): readonly Manifest[] {
  const metadata = { name, namespace: NAMESPACE };
  const labels = { app: name };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: `${NAMESPACE}-${name}` },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
      subjects: [{ kind: 'ServiceAccount', ...metadata }],
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: name,
            containers: [
              {
                name,
                image,
                args,
                ports: [{ containerPort: port }],
                readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
                ...(configMap === undefined ? {} : { volumeMounts: [{ name: 'config', mountPath: configMap.path }] }),
              },
            ],
            ...(configMap === undefined ? {} : { volumes: [{ name: 'config', configMap: { name: configMap.name } }] }),
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { type: 'NodePort', selector: labels, ports: [{ port, nodePort }] },
    },
  ];
}

/** The same names as `scrape-targets.ts` gives: here Prometheus itself asks Kubernetes. The later rule wins. */
function prometheusConfig(): unknown {
  const pod = '__meta_kubernetes_pod';
  return {
    global: { scrape_interval: '1s', scrape_timeout: '1s' },
    scrape_configs: [
      {
        job_name: 'pods',
        kubernetes_sd_configs: [{ role: 'pod' }],
        relabel_configs: [
          { source_labels: [`${pod}_annotation_prometheus_io_scrape`], regex: 'true', action: 'keep' },
          { source_labels: [`${pod}_phase`], regex: 'Running', action: 'keep' },
          {
            source_labels: [`${pod}_ip`, `${pod}_annotation_prometheus_io_port`],
            regex: '(.+);(.+)',
            replacement: '$1:$2',
            target_label: '__address__',
          },
          { source_labels: ['__meta_kubernetes_namespace'], target_label: 'namespace' },
          { source_labels: [`${pod}_name`], target_label: 'pod' },
          { source_labels: [`${pod}_label_app`], regex: '(.+)', target_label: 'service' },
          { source_labels: [`${pod}_label_sluice_dev_service`], regex: '(.+)', target_label: 'service' },
          { target_label: 'track', replacement: 'stable' },
          { source_labels: [`${pod}_label_sluice_dev_track`], regex: '(.+)', target_label: 'track' },
        ],
      },
    ],
  };
}
