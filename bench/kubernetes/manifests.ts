import type { KubernetesObject } from '../../src/targets/kubernetes/objects';

/** A service of a bench in one namespace: its name stands for all its objects. */
export interface BenchService {
  readonly namespace: string;
  readonly name: string;
}

interface PodOptions {
  readonly image: string;
  readonly replicas: number;
}

/** An ordinary Deployment behind an Ingress, for Sluice. */
export function deploymentObjects(service: BenchService, pods: PodOptions): KubernetesObject[] {
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: metadata(service),
    spec: workload(service, pods),
  };
  return [deployment, serviceObject(service, service.name), ingressObject(service, service.name)];
}

interface Routing {
  readonly trafficRouting: object;
  readonly abortScaleDownDelaySeconds: number;
}

interface RolloutOptions extends PodOptions {
  readonly weights: readonly number[];
  readonly pauseS: number;
}

/** The same for Argo Rollouts: pauses of `pauseS` between the weights, and none after the last. */
export function rolloutObjects(
  service: BenchService,
  { weights, pauseS, ...pods }: RolloutOptions,
): KubernetesObject[] {
  const last = weights.length - 1;
  const steps = weights.flatMap((setWeight, index) => [
    { setWeight },
    { pause: index === last ? {} : { duration: `${pauseS}s` } },
  ]);
  return rolloutOf(service, pods, steps);
}

/** Held at its first weight until somebody goes on, and without pods of its canary. */
export function heldRolloutObjects(service: BenchService, { weights, ...pods }: RolloutOptions): KubernetesObject[] {
  return rolloutOf(service, pods, [{ setCanaryScale: { replicas: 0 } }, { setWeight: weights[0] }, { pause: {} }]);
}

/** At a gateway that splits by a TraefikService: half, until somebody goes on. */
export function gatewayRolloutObjects(
  service: BenchService,
  { weights: _, ...pods }: RolloutOptions,
): KubernetesObject[] {
  const { name } = service;
  const apiVersion = 'traefik.io/v1alpha1';
  const services = [name, `${name}-canary`].map((one) => ({ name: one, port: 80 }));
  const routes = [
    {
      match: `Host(\`${gatewayHost(service)}\`)`,
      kind: 'Rule',
      services: [{ name, kind: 'TraefikService' }],
    },
  ];
  // A gateway has heard of the abort by then.
  const routing = { trafficRouting: { traefik: { weightedTraefikServiceName: name } }, abortScaleDownDelaySeconds: 10 };
  return [
    { apiVersion, kind: 'TraefikService', metadata: metadata(service), spec: { weighted: { services } } },
    { apiVersion, kind: 'IngressRoute', metadata: metadata(service), spec: { entryPoints: ['web'], routes } },
    ...rolloutOf(service, pods, [{ setWeight: 50 }, { pause: {} }], routing).filter(({ kind }) => kind !== 'Ingress'),
  ];
}

export function gatewayHost({ namespace, name }: BenchService): string {
  return `${name}.${namespace}.example`;
}

function rolloutOf(
  service: BenchService,
  pods: PodOptions,
  steps: readonly object[],
  // Its pods go at once after an abort, so that the next start has to make them anew.
  {
    trafficRouting = { nginx: { stableIngress: service.name } },
    abortScaleDownDelaySeconds = 1,
  }: Partial<Routing> = {},
): KubernetesObject[] {
  const { name } = service;
  const canary = {
    stableService: name,
    canaryService: `${name}-canary`,
    abortScaleDownDelaySeconds,
    trafficRouting,
    steps,
  };
  const rollout = {
    apiVersion: 'argoproj.io/v1alpha1',
    kind: 'Rollout',
    metadata: metadata(service),
    spec: { ...workload(service, pods), strategy: { canary } },
  };
  return [
    serviceObject(service, name),
    serviceObject(service, `${name}-canary`),
    ingressObject(service, name),
    rollout,
  ];
}

function metadata({ namespace, name }: BenchService): { name: string; namespace: string } {
  return { name, namespace };
}

function workload({ name }: BenchService, { image, replicas }: PodOptions): Record<string, unknown> {
  const labels = { app: name };
  const container = {
    name: 'shop',
    image,
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/healthz', port: 'http' }, periodSeconds: 1 },
    resources: { requests: { cpu: '1m', memory: '8Mi' } },
  };
  return {
    replicas,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: { terminationGracePeriodSeconds: 1, automountServiceAccountToken: false, containers: [container] },
    },
  };
}

function serviceObject({ namespace, name: app }: BenchService, name: string): KubernetesObject {
  const spec = { selector: { app }, ports: [{ name: 'http', port: 80, targetPort: 'http' }] };
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec };
}

function ingressObject(service: BenchService, backend: string): KubernetesObject {
  const path = { path: '/', pathType: 'Prefix', backend: { service: { name: backend, port: { number: 80 } } } };
  const spec = { ingressClassName: 'nginx', rules: [{ host: `${service.name}.example`, http: { paths: [path] } }] };
  return { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: metadata(service), spec };
}
