import { withFence } from '../../traffic/fence';
import type { Fence } from '../../traffic/fence';
import type { DeploymentView } from './deployment-view';
import type { KubernetesObject } from './objects';
import { OWNER_LABEL, ownerLabel, SERVICE_LABEL, TRACK_LABEL } from './tracks';
import type { Labels } from './tracks';

/** Annotations that say what somebody did to one Deployment; a copy has its own story. */
const NOT_COPIED =
  /^(deployment\.kubernetes\.io\/|kubectl\.kubernetes\.io\/|sluice\.dev\/|meta\.helm\.sh\/|argocd\.argoproj\.io\/)/;

export interface TrackMake {
  readonly name: string;
  readonly service: string;
  readonly release: string;
  /** As its objects say it by `TRACK_LABEL`: canary, blue or green. */
  readonly track: string;
  /** Of its pods; see `canaryLabels` and `labelsOfIdle`. */
  readonly labels: Labels;
  readonly container: string;
  readonly image: string;
  readonly replicas: number;
  readonly fence: Fence;
}

/**
 * The new version's Deployment: the stable one's live template with the new image, under labels of its own. What is not
 * of the template (strategy, deadlines, history) is as stable has it.
 */
export function trackDeployment(
  stable: DeploymentView,
  spec: Readonly<Record<string, unknown>>,
  make: TrackMake,
): KubernetesObject {
  const kept = ['strategy', 'minReadySeconds', 'progressDeadlineSeconds', 'revisionHistoryLimit'].flatMap((key) =>
    spec[key] === undefined ? [] : [[key, spec[key]] as const],
  );
  const object: KubernetesObject = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: {
      name: make.name,
      namespace: stable.namespace,
      labels: { ...stable.labels, ...ownLabels(make) },
    },
    spec: {
      ...Object.fromEntries(kept),
      replicas: make.replicas,
      selector: { matchLabels: canarySelector(stable, make.labels) },
      template: withImage(relabelled(stable.template, { ...make.labels, [SERVICE_LABEL]: make.service }), make),
    },
  };
  return withFence(object, make.fence);
}

/**
 * What of a Service's annotations says how it is spoken to: without it a gateway would speak HTTP/1 to a canary of gRPC.
 * All others are one Service's own (a name in DNS, a load balancer's address, who applied it), and two with them would be
 * a quarrel.
 */
const SHARED_ANNOTATIONS: readonly string[] = [
  'alb.ingress.kubernetes.io/',
  'cloud.google.com/app-protocols',
  'cloud.google.com/backend-config',
  'config.linkerd.io/',
  'haproxy.org/',
  'konghq.com/',
  'networking.istio.io/',
  'projectcontour.io/',
  'traefik.ingress.kubernetes.io/service.',
];

/** By it Prometheus finds pods through their Service. */
export const SCRAPED = 'prometheus.io/';

function sharedAnnotations(
  { metadata: { annotations = {} } }: KubernetesObject,
  { isScraped }: Pick<ServiceMake, 'isScraped'>,
): Pick<KubernetesObject['metadata'], 'annotations'> {
  const prefixes = isScraped ? [...SHARED_ANNOTATIONS, SCRAPED] : SHARED_ANNOTATIONS;
  const shared = Object.entries(annotations).filter(([key]) => prefixes.some((one) => key.startsWith(one)));
  return shared.length === 0 ? {} : { annotations: Object.fromEntries(shared) };
}

type ServiceMake = Pick<TrackMake, 'name' | 'service' | 'release' | 'track' | 'fence'> & {
  readonly selector: Labels;
  /** Users reach its pods by it, so that they are found by it, too: not the preview of a colour that is switched to. */
  readonly isScraped: boolean;
};

/** A track's own Service: stable's ports over the track's pods, spoken to as stable's is. */
export function trackService(stable: KubernetesObject, make: ServiceMake): KubernetesObject {
  const { ports = [], ...spec } = stable['spec'] as { ports?: readonly Record<string, unknown>[] } & Record<
    string,
    unknown
  >;
  const kept = ['internalTrafficPolicy', 'sessionAffinity', 'publishNotReadyAddresses'].flatMap((key) =>
    spec[key] === undefined ? [] : [[key, spec[key]] as const],
  );
  const object: KubernetesObject = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: make.name,
      ...(stable.metadata.namespace === undefined ? {} : { namespace: stable.metadata.namespace }),
      labels: { ...stable.metadata.labels, ...ownLabels(make) },
      ...sharedAnnotations(stable, make),
    },
    spec: {
      ...Object.fromEntries(kept),
      // A node's port belongs to the one Service.
      ports: ports.map(({ nodePort: _, ...port }) => port),
      selector: make.selector,
    },
  };
  return withFence(object, make.fence);
}

/** What of a Service's selector finds the pods with these labels. */
export function serviceSelectorFor(stableSelector: Labels, labels: Labels): Labels {
  return Object.fromEntries(Object.keys(stableSelector).map((key) => [key, labels[key] ?? '']));
}

/** A template with another image in one container. */
export function withImage(
  template: Readonly<Record<string, unknown>>,
  { container, image }: { readonly container: string; readonly image: string },
): Record<string, unknown> {
  const spec = template['spec'] as { containers: readonly { name: string }[] };
  return {
    ...template,
    spec: {
      ...spec,
      containers: spec.containers.map((one) => (one.name === container ? { ...one, image } : one)),
    },
  };
}

function ownLabels({ service, release, track }: Pick<TrackMake, 'service' | 'release' | 'track'>): Labels {
  return { [TRACK_LABEL]: track, [SERVICE_LABEL]: service, [OWNER_LABEL]: ownerLabel(release) };
}

/** What the canary Deployment finds its pods by, for as long as it is there. */
export function canarySelector(stable: DeploymentView, labels: Labels): Labels {
  const keys = new Set([...Object.keys(stable.selector), TRACK_LABEL]);
  return Object.fromEntries([...keys].map((key) => [key, labels[key] ?? '']));
}

function relabelled(template: Readonly<Record<string, unknown>>, labels: Labels): Record<string, unknown> {
  const metadata = template['metadata'] as { annotations?: Record<string, string> } | undefined;
  const annotations = Object.entries(metadata?.annotations ?? {}).filter(([key]) => !NOT_COPIED.test(key));
  return {
    ...template,
    metadata: {
      labels,
      ...(annotations.length === 0 ? {} : { annotations: Object.fromEntries(annotations) }),
    },
  };
}
