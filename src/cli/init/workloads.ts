import type { Manifest } from '../manifest-yaml';
import type { InitSettings } from './settings';

/** Which service a pod is of, and which track: the stable Service selects both, so that it never meets a canary pod. */
export const LABELS = { name: 'app.kubernetes.io/name', track: 'sluice.dev/track' } as const;

export type Track = 'stable' | 'canary';

export function trackName(name: string, track: Track): string {
  return track === 'stable' ? name : `${name}-canary`;
}

/** Longer than load balancers take to leave a pod alone. */
const PRE_STOP_SECONDS = 10;

export function deployments(settings: InitSettings): Manifest[] {
  return [
    {
      comment: [
        `The stable track. The image is that of the first deployment: from then on releases set it, so change it with`,
        '`sluice deploy`, and not here.',
        ...(scales(settings)
          ? ['How many pods there are is left to the HorizontalPodAutoscaler.']
          : ['How many pods there are is how traffic is shared: no HorizontalPodAutoscaler here.']),
      ].join('\n'),
      object: deployment(settings, 'stable'),
    },
    {
      comment: 'The canary track, without pods while there is no release. A release sets its image and its size.',
      object: deployment(settings, 'canary'),
    },
  ];
}

function deployment(settings: InitSettings, track: Track): object {
  const { name, namespace } = settings;
  const labels = labelsOf(name, track);
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: trackName(name, track), namespace, labels },
    spec: {
      ...(track === 'canary' ? { replicas: 0 } : scales(settings) ? {} : { replicas: settings.replicas }),
      revisionHistoryLimit: 3,
      progressDeadlineSeconds: 600,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: 0 } },
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: {
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: PRE_STOP_SECONDS + 30,
          securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
          containers: [container(settings)],
          volumes: [{ name: 'tmp', emptyDir: { sizeLimit: '64Mi' } }],
        },
      },
    },
  };
}

function container({ name, image, port, healthPath }: InitSettings): object {
  const httpGet = { path: healthPath, port: 'http' };
  return {
    name,
    image,
    ports: [{ name: 'http', containerPort: port }],
    // Two minutes to start; after that, out of traffic after 10 s of failing, and restarted after 60.
    startupProbe: { httpGet, periodSeconds: 2, timeoutSeconds: 2, failureThreshold: 60 },
    readinessProbe: { httpGet, periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 2 },
    livenessProbe: { httpGet, periodSeconds: 10, timeoutSeconds: 2, failureThreshold: 6 },
    // Requests still come for a moment after a pod has been told to go.
    lifecycle: { preStop: { sleep: { seconds: PRE_STOP_SECONDS } } },
    resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { cpu: '1', memory: '256Mi' } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    },
    volumeMounts: [{ name: 'tmp', mountPath: '/tmp' }],
  };
}

export function services(settings: InitSettings): Manifest[] {
  const { name, traffic } = settings;
  const stable = {
    replicas: ['Users reach the service by this one. It selects the pods of both tracks: their number is the share.'],
    serviceSelector: ['Users reach the service by this one. A release turns its selector to the canary and back.'],
  } as const;
  const usual = ['The stable track. Its selector names the track, so that it never meets a canary pod.'];
  const comment = (traffic === 'replicas' || traffic === 'serviceSelector' ? stable[traffic] : usual).join('\n');
  return [
    {
      comment,
      object: service(settings, 'stable', traffic === 'replicas' ? { [LABELS.name]: name } : labelsOf(name, 'stable')),
    },
    {
      comment: 'The canary track, for the smoke test and for its share of the traffic.',
      object: service(settings, 'canary', labelsOf(name, 'canary')),
    },
  ];
}

function service({ name, namespace }: InitSettings, track: Track, selector: object): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: trackName(name, track), namespace, labels: labelsOf(name, track) },
    spec: { selector, ports: [{ name: 'http', port: SERVICE_PORT, targetPort: 'http', protocol: 'TCP' }] },
  };
}

export const SERVICE_PORT = 80;

/** Beside replicas that are the share, an autoscaler would move the traffic. */
export function scales({ traffic }: Pick<InitSettings, 'traffic'>): boolean {
  return traffic !== 'replicas';
}

export function autoscalers(settings: InitSettings): Manifest[] {
  if (!scales(settings)) return [];
  const { name, namespace, replicas } = settings;
  return [
    {
      comment: 'Sizes the stable track. A release gives the canary its share of that size, so it scales along.',
      object: {
        apiVersion: 'autoscaling/v2',
        kind: 'HorizontalPodAutoscaler',
        metadata: { name, namespace, labels: { [LABELS.name]: name } },
        spec: {
          scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
          minReplicas: replicas,
          maxReplicas: Math.max(10, replicas),
          metrics: [
            { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } },
          ],
        },
      },
    },
  ];
}

/** One for each track: while one carries all traffic, pods of the other are no reason to take its last. */
export function disruptionBudgets({ name, namespace }: InitSettings): Manifest[] {
  return (['stable', 'canary'] as const).map((track) => ({
    ...(track === 'stable'
      ? { comment: 'Drained nodes leave each track one pod; pods that are not ready protect nothing.' }
      : {}),
    object: {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: trackName(name, track), namespace, labels: labelsOf(name, track) },
      spec: {
        minAvailable: 1,
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
        selector: { matchLabels: labelsOf(name, track) },
      },
    },
  }));
}

export function serviceMonitors({ name, namespace, serviceMonitor }: InitSettings): Manifest[] {
  if (!serviceMonitor) return [];
  const fromPod = (label: string, targetLabel: string): object => ({
    sourceLabels: [`__meta_kubernetes_pod_label_${label.replace(/[^a-zA-Z0-9_]/g, '_')}`],
    targetLabel,
  });
  return [
    {
      comment: [
        'For the Prometheus operator: asks each pod of both tracks for /metrics. It labels the series with service, namespace',
        'and track, by which release.yaml tells the tracks apart. Many operators take only monitors with a label of theirs,',
        'for example release: prometheus; add it to the metadata.',
      ].join('\n'),
      object: {
        apiVersion: 'monitoring.coreos.com/v1',
        kind: 'ServiceMonitor',
        metadata: { name, namespace, labels: { [LABELS.name]: name } },
        spec: {
          selector: { matchLabels: { [LABELS.name]: name } },
          // The same of both Services, so that a pod behind both is asked once.
          jobLabel: LABELS.name,
          endpoints: [
            {
              port: 'http',
              path: '/metrics',
              interval: '15s',
              relabelings: [fromPod(LABELS.name, 'service'), fromPod(LABELS.track, 'track')],
            },
          ],
        },
      },
    },
  ];
}

function labelsOf(name: string, track: Track): Readonly<Record<string, string>> {
  return { [LABELS.name]: name, [LABELS.track]: track };
}
