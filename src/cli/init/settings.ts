import path from 'node:path';
import { ReleaseError } from '../../errors';
import { checkVersion } from '../../spec/version';
import type { AccountRef } from '../../targets/kubernetes/role';
import { parseAccount } from '../service-role';

export const TRAFFIC_KINDS = ['gatewayAPI', 'nginx', 'traefik', 'istio', 'serviceSelector', 'replicas'] as const;
export type TrafficKind = (typeof TRAFFIC_KINDS)[number];

export const STRATEGIES = ['canary', 'blueGreen'] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** All that the files of a new service depend on. */
export interface InitSettings {
  readonly name: string;
  readonly namespace: string;
  /** Of the first deployment. */
  readonly image: string;
  /** That the container listens on. */
  readonly port: number;
  /** Answers 200 when the container is well. */
  readonly healthPath: string;
  readonly strategy: Strategy;
  /** The least pods of the track that has the traffic. */
  readonly replicas: number;
  readonly traffic: TrafficKind;
  /** By which users reach the service; null where the traffic's objects name no host. */
  readonly host: string | null;
  /** Of the Gateway API or of Istio; null where there is none. */
  readonly gateway: { readonly name: string; readonly namespace: string | null } | null;
  /** Where the worker asks for metrics. */
  readonly prometheus: string;
  /** For clusters without the Prometheus operator: no ServiceMonitor. */
  readonly serviceMonitor: boolean;
  readonly account: AccountRef;
}

/** As typed; what is left out is assumed. */
export interface InitOptions {
  readonly name?: string;
  readonly namespace?: string;
  readonly image?: string;
  readonly port?: string;
  readonly healthPath?: string;
  readonly strategy?: string;
  readonly replicas?: string;
  readonly traffic?: string;
  readonly host?: string;
  readonly gateway?: string;
  readonly prometheus?: string;
  readonly serviceMonitor?: boolean;
  readonly serviceAccount?: string;
}

export const USUAL = {
  namespace: 'default',
  port: '8080',
  healthPath: '/healthz',
  strategy: 'canary',
  traffic: { canary: 'gatewayAPI', blueGreen: 'serviceSelector' },
  gateway: 'public',
  /** As the Prometheus operator names it, in the namespace that its charts use. */
  prometheus: 'http://prometheus-operated.monitoring.svc:9090',
} as const;

const LABEL = '[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?';
/** Services begin with a letter, and `-canary` must still fit into 63 characters. */
const NAME = /^[a-z]([-a-z0-9]{0,54}[a-z0-9])?$/;
const HOST = new RegExp(`^(\\*\\.)?${LABEL}(\\.${LABEL})*$`);
const GATEWAY = new RegExp(`^(${LABEL}/)?${LABEL}(\\.${LABEL})*$`);

/** @throws ReleaseError `usage` for the first that is not allowed. */
export function settingsFrom(options: InitOptions, folder: string): InitSettings {
  const name = matching(options.name ?? nameOf(folder), '--name', NAME, NAME_ALLOWED);
  const namespace = matching(
    options.namespace ?? USUAL.namespace,
    '--namespace',
    new RegExp(`^${LABEL}$`),
    'lower-case letters, digits and "-", at most 63',
  );
  const image = options.image ?? assumedImage(name);
  checkVersion(image, 'kubernetes');
  const strategy = strategyOf(options);
  const traffic = trafficKind(options.traffic ?? USUAL.traffic[strategy]);
  if (strategy === 'blueGreen' && traffic === 'replicas') {
    throw new ReleaseError('usage', '--traffic replicas mixes the pods of both versions, which blueGreen never does.', {
      hint: `Allowed: ${TRAFFIC_KINDS.filter((kind) => kind !== 'replicas').join(', ')}.`,
    });
  }
  refuseUnread(options, traffic);
  return {
    name,
    namespace,
    image,
    port: whole(options.port ?? USUAL.port, '--port', [1, 65_535]),
    healthPath: matching(
      options.healthPath ?? USUAL.healthPath,
      '--health-path',
      /^\/[^\s#]{0,1000}$/,
      'a path that begins with "/"',
    ),
    strategy,
    // With a single pod a disruption budget would forbid that its node is ever drained.
    replicas: whole(options.replicas ?? usualReplicas(traffic), '--replicas', [2, 1000]),
    traffic,
    host: hasHost(traffic, options)
      ? matching(options.host ?? assumedHost(name), '--host', HOST, 'a DNS name, such as checkout.example.com')
      : null,
    gateway: gatewayOf(traffic, options.gateway),
    prometheus: httpAddress(options.prometheus ?? USUAL.prometheus),
    serviceMonitor: options.serviceMonitor !== false,
    account: parseAccount(options.serviceAccount, namespace),
  };
}

const NAME_ALLOWED =
  'lower-case letters, digits and "-", at most 56, beginning with a letter and ending with a letter or digit';

/** What was assumed and is most likely not so, as people read it. */
export function assumptions(options: InitOptions, settings: InitSettings): string[] {
  return [
    ...(options.image === undefined ? [`image ${settings.image} (--image)`] : []),
    ...(options.host === undefined && settings.host !== null ? [`host ${settings.host} (--host)`] : []),
    ...(options.gateway === undefined && settings.gateway !== null
      ? [`Gateway ${settings.gateway.name} in the same namespace (--gateway)`]
      : []),
    ...(options.prometheus === undefined ? [`Prometheus at ${settings.prometheus} (--prometheus)`] : []),
  ];
}

/** The service's name by its folder's; `service` where that has no letter. */
export function nameOf(folder: string): string {
  const base = path.basename(path.resolve(folder)).toLowerCase();
  const label = base
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^[^a-z]+/, '')
    .slice(0, 56)
    .replace(/-+$/, '');
  return label === '' ? 'service' : label;
}

export function assumedImage(name: string): string {
  return `registry.example.com/${name}:1.0.0`;
}

export function assumedHost(name: string): string {
  return `${name}.example.com`;
}

/** Shares by replicas come in steps of one pod: four make 25, 50 and 100 %. */
function usualReplicas(traffic: TrafficKind): string {
  return traffic === 'replicas' ? '4' : '2';
}

/** @throws ReleaseError `usage` for one that there is not. */
export function strategyOf({ strategy = USUAL.strategy }: Pick<InitOptions, 'strategy'>): Strategy {
  const found = STRATEGIES.find((one) => one.toLowerCase() === strategy.toLowerCase());
  if (found !== undefined) return found;
  throw new ReleaseError('usage', `--strategy ${JSON.stringify(strategy)} is not known.`, {
    hint: `Allowed: ${STRATEGIES.join(', ')}.`,
  });
}

export function trafficKind(text: string): TrafficKind {
  const found = TRAFFIC_KINDS.find((kind) => kind.toLowerCase() === text.toLowerCase());
  if (found !== undefined) return found;
  throw new ReleaseError('usage', `--traffic ${JSON.stringify(text)} is not known.`, {
    hint: `Allowed: ${TRAFFIC_KINDS.join(', ')}.`,
  });
}

/** Whether the kind's objects name a host. For Istio within the mesh it is the Service's own. */
export function hasHost(traffic: TrafficKind, { gateway }: Pick<InitOptions, 'gateway'>): boolean {
  if (traffic === 'istio') return gateway !== undefined;
  return traffic === 'gatewayAPI' || traffic === 'nginx' || traffic === 'traefik';
}

/** An option that nothing reads would be a wish that nobody heard. */
function refuseUnread(options: InitOptions, traffic: TrafficKind): void {
  if (options.gateway !== undefined && traffic !== 'gatewayAPI' && traffic !== 'istio') {
    throw new ReleaseError('usage', `--gateway is given, and ${traffic} knows none.`, {
      hint: 'Allowed: --gateway with --traffic gatewayAPI or istio.',
    });
  }
  if (options.host !== undefined && !hasHost(traffic, options)) {
    const what = traffic === 'istio' ? 'istio without --gateway serves the mesh alone' : `${traffic} knows none`;
    throw new ReleaseError('usage', `--host is given, and ${what}.`, {
      hint: 'Allowed: --host with --traffic gatewayAPI, nginx, traefik, or istio and --gateway.',
    });
  }
}

function gatewayOf(traffic: TrafficKind, given: string | undefined): InitSettings['gateway'] {
  if (given === undefined) return traffic === 'gatewayAPI' ? { name: USUAL.gateway, namespace: null } : null;
  matching(given, '--gateway', GATEWAY, "the Gateway's name, or namespace/name");
  const [first = '', second] = given.split('/');
  return second === undefined ? { name: first, namespace: null } : { name: second, namespace: first };
}

function matching(value: string, option: string, pattern: RegExp, allowed: string): string {
  if (pattern.test(value) && value.length <= 1000) return value;
  throw new ReleaseError('usage', `${option} ${JSON.stringify(value)} is not allowed.`, {
    hint: `Allowed: ${allowed}.`,
  });
}

function whole(text: string, option: string, [least, most]: readonly [number, number]): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new ReleaseError('usage', `${option} ${JSON.stringify(text)} is not allowed.`, {
    hint: `Allowed: a whole number from ${least} to ${most}.`,
  });
}

function httpAddress(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const web = url !== null && (url.protocol === 'http:' || url.protocol === 'https:');
  if (web && url.username === '' && url.password === '' && url.hash === '') return text;
  throw new ReleaseError('usage', '--prometheus is not an address that can be asked.', {
    hint: 'Allowed: http://host:port or https://host:port, without a user or password.',
  });
}
