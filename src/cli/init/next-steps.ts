import path from 'node:path';
import { MANIFESTS, RELEASE_FILE } from './service-files';
import { USUAL } from './settings';
import type { InitSettings, TrafficKind } from './settings';
import { scales, trackName, tracksOf } from './workloads';

/** What has been done already. */
export interface Begun {
  readonly folder: string;
  readonly applied: boolean;
  /** Whether the service has nobody who uses it yet: taking its pods away would be an outage otherwise. */
  readonly isNew: boolean;
}

interface Step {
  readonly command: string;
  readonly why: string;
}

/** What to do next, command by command, in the order in which each is needed; what must be there is looked for first. */
export function nextSteps(settings: InitSettings, { folder, applied, isNew }: Begun): string[] {
  const { namespace, image } = settings;
  const apply = `kubectl apply -f ${word(path.join(folder, MANIFESTS))}`;
  const deploy = `sluice deploy ${word(path.join(folder, RELEASE_FILE))} --image`;
  const start = { command: apply, why: `starts ${image} as it is, guarded by its probes alone` };
  const release = { command: `${deploy} IMAGE:TAG`, why: 'each version after it' };
  const lines = [
    'Next:',
    ...table([
      ...(applied ? [] : namespaces(settings)),
      ...looks(settings, applied),
      ...(applied ? [] : [start]),
      release,
    ]),
  ];
  if (!isNew || !scales(settings)) return lines;
  const first = trackName(settings.name, tracksOf(settings)[0]);
  const scale = `kubectl scale deployment ${first} -n ${namespace} --replicas=0`;
  const guarded = applied
    ? [scale]
    : // The Deployments alone at first: without Services and a route nobody reaches the pods that are on their way.
      [`kubectl apply -f ${word(path.join(folder, MANIFESTS, 'deployments.yaml'))}`, scale, apply];
  return [
    ...lines,
    `Or, to have the first version released, too, with its smoke test and its soak${applied ? '' : `, in the place of that ${apply}`}:`,
    ...[...guarded, `${deploy} ${image}`].map((command) => `  ${command}`),
  ];
}

function namespaces({ namespace, account }: InitSettings): Step[] {
  const [own, worker] = [namespace, account.namespace];
  return [
    ...(own === USUAL.namespace
      ? []
      : [{ command: `kubectl create namespace ${own}`, why: `unless kubectl get namespace ${own} finds it` }]),
    ...(worker === own ? [] : [{ command: `kubectl get namespace ${worker}`, why: "must be there: the worker's" }]),
  ];
}

/** A server that refuses what it does not know has been asked already where it was applied. */
function looks(settings: InitSettings, applied: boolean): Step[] {
  const { traffic, serviceMonitor } = settings;
  const routes = DEFINITIONS[traffic];
  const definitions = [
    ...(routes === null ? [] : [{ ...routes, otherwise: 'another --traffic' }]),
    ...(serviceMonitor
      ? [
          {
            names: 'servicemonitors.monitoring.coreos.com',
            of: 'the Prometheus operator',
            otherwise: '--no-service-monitor',
          },
        ]
      : []),
  ].map(({ names, of, otherwise }) => ({
    command: `kubectl get crd ${names}`,
    why: `must be there, from ${of}; else ${otherwise}`,
  }));
  return [...(applied ? [] : definitions), ...entrance(settings)];
}

const DEFINITIONS: Readonly<Record<TrafficKind, { readonly names: string; readonly of: string } | null>> = {
  gatewayAPI: { names: 'httproutes.gateway.networking.k8s.io', of: 'the Gateway API' },
  traefik: { names: 'traefikservices.traefik.io ingressroutes.traefik.io', of: 'Traefik' },
  istio: { names: 'virtualservices.networking.istio.io', of: 'Istio' },
  nginx: null,
  serviceSelector: null,
  replicas: null,
};

/** A route is accepted without it, and then leads nobody anywhere. */
function entrance({ traffic, gateway, namespace }: InitSettings): Step[] {
  if (traffic === 'nginx') return [{ command: 'kubectl get ingressclass nginx', why: 'must be there' }];
  if (gateway === null) return [];
  const gateways = traffic === 'istio' ? 'gateways.networking.istio.io' : 'gateways.gateway.networking.k8s.io';
  return [
    { command: `kubectl get ${gateways} ${gateway.name} -n ${gateway.namespace ?? namespace}`, why: 'must be there' },
  ];
}

function table(steps: readonly Step[]): string[] {
  const width = Math.max(...steps.map(({ command }) => command.length));
  return steps.map(({ command, why }) => `  ${command.padEnd(width)}  # ${why}`);
}

/** As a shell takes it for one word. */
function word(text: string): string {
  return /^[\w./@%+=:,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
