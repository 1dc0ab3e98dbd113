import type { Manifest } from '../manifest-yaml';
import type { InitSettings } from './settings';

/** Which service a pod is of, and which track: the stable Service selects both, so that it never meets a canary pod. */
export const LABELS = { name: 'app.kubernetes.io/name', track: 'sluice.dev/track' } as const;

export type Track = 'stable' | 'canary' | 'blue' | 'green';

/** Of its Deployment, and of the Service that finds it alone. */
export function trackName(name: string, track: Track): string {
  return track === 'stable' ? name : `${name}-${track}`;
}

/** The one that has the traffic at first, and the one without pods. */
export function tracksOf({ strategy }: Pick<InitSettings, 'strategy'>): readonly [first: Track, idle: Track] {
  return strategy === 'blueGreen' ? ['blue', 'green'] : ['stable', 'canary'];
}

/** Longer than load balancers take to leave a pod alone. */
const PRE_STOP_SECONDS = 10;

export function deployments(settings: InitSettings): Manifest[] {
  const [first, idle] = tracksOf(settings);
  const pair = settings.strategy === 'blueGreen';
  const size = scales(settings)
    ? 'How many pods there are is left to the HorizontalPodAutoscaler.'
    : 'How many pods there are is how traffic is shared: no HorizontalPodAutoscaler here.';
  return [
    {
      comment: [
        `${pair ? 'The colour that has the traffic first.' : 'The stable track.'} The image is that of the first deployment: from then on releases set it, so change it with`,
        '`sluice deploy`, and not here.',
        size,
      ].join('\n'),
      object: deployment(settings, first),
    },
    {
      comment: [
        pair
          ? 'The idle colour, without pods. The next release brings its version up here, and then the two change places.'
          : 'The canary track, without pods while there is no release. A release sets its image and its size.',
        'The 0 is for its creation alone: a GitOps tool must leave replicas alone, or it takes pods away that serve.',
      ].join('\n'),
      object: deployment(settings, idle),
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
      ...(track === tracksOf(settings)[1] ? { replicas: 0 } : scales(settings) ? {} : { replicas: settings.replicas }),
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
  return settings.strategy === 'blueGreen' ? servicesOfPair(settings) : servicesOfTracks(settings);
}

function servicesOfPair(settings: InitSettings): Manifest[] {
  const { name } = settings;
  const [first] = tracksOf(settings);
  return [
    {
      comment: [
        'Users reach the service by this one. It finds the pods of one colour; a release switches its selector to the other.',
        'Applying it again later would point it back to the first: let a GitOps tool leave its selector alone.',
      ].join('\n'),
      object: service(settings, { name, labels: { [LABELS.name]: name }, selector: labelsOf(name, first) }),
    },
    ...tracksOf(settings).map((track) => ({
      ...(track === first
        ? { comment: 'A preview of each colour, for the smoke test and for who looks before the switch.' }
        : {}),
      object: service(settings, ofTrack(name, track)),
    })),
  ];
}

function servicesOfTracks(settings: InitSettings): Manifest[] {
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
      object: service(settings, {
        ...ofTrack(name, 'stable'),
        ...(traffic === 'replicas' ? { selector: { [LABELS.name]: name } } : {}),
      }),
    },
    {
      comment: 'The canary track, for the smoke test and for its share of the traffic.',
      object: service(settings, ofTrack(name, 'canary')),
    },
  ];
}

interface ServiceParts {
  readonly name: string;
  readonly labels: Labels;
  readonly selector: Labels;
}

function ofTrack(name: string, track: Track): ServiceParts {
  const labels = labelsOf(name, track);
  return { name: trackName(name, track), labels, selector: labels };
}

function service({ namespace }: InitSettings, { name, labels, selector }: ServiceParts): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels },
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
  if (settings.strategy === 'canary') {
    return [
      {
        comment: 'Sizes the stable track. A release gives the canary its share of that size, so it scales along.',
        object: autoscaler(settings, 'stable'),
      },
    ];
  }
  const [first] = tracksOf(settings);
  return tracksOf(settings).map((track) => ({
    ...(track === first
      ? {
          comment: [
            'One for each colour; it rests while its colour is without pods. The least number must carry what comes back at a',
            'switch, because the old colour may shrink to it while it has no traffic.',
          ].join('\n'),
        }
      : {}),
    object: autoscaler(settings, track),
  }));
}

/** Room for twice the usual load: an autoscaler between equal bounds would scale nothing. */
function mostReplicas({ replicas }: InitSettings): number {
  return Math.max(10, 2 * replicas);
}

function autoscaler(settings: InitSettings, track: Track): object {
  const { name: service, namespace, replicas } = settings;
  const name = trackName(service, track);
  return {
    apiVersion: 'autoscaling/v2',
    kind: 'HorizontalPodAutoscaler',
    metadata: { name, namespace, labels: { [LABELS.name]: service } },
    spec: {
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
      minReplicas: replicas,
      maxReplicas: mostReplicas(settings),
      metrics: [
        { type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 70 } } },
      ],
    },
  };
}

/** One for each track: while one carries all traffic, pods of the other are no reason to take its last. */
export function disruptionBudgets(settings: InitSettings): Manifest[] {
  const { name, namespace } = settings;
  const [first] = tracksOf(settings);
  return tracksOf(settings).map((track) => ({
    ...(track === first
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

type Labels = Readonly<Record<string, string>>;

function labelsOf(name: string, track: Track): Labels {
  return { [LABELS.name]: name, [LABELS.track]: track };
}
