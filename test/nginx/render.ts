import { createHash } from 'node:crypto';
import { z } from 'zod';
import { isCanary, readRouting } from '../../src/traffic/canary-ingress';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';

/**
 * What ingress-nginx makes of Ingresses and their canary annotations, as far as releases need it: a header, then a
 * cookie, then the weight, in that order; the header and cookie know `always` and `never`, a header with a value only
 * that one. Written after ingress-nginx' `route_to_alternative_balancer`.
 */
export interface NginxInput {
  readonly ingresses: readonly KubernetesObject[];
  readonly services: readonly KubernetesObject[];
  readonly endpointSlices: readonly KubernetesObject[];
}

export interface NginxPlace {
  /** On loopback. */
  readonly port: number;
  /** For all that nginx writes. */
  readonly folder: string;
}

/** Answered where no host is named, as soon as nginx serves. */
export const READY_PATH = '/-/ready';

const Spec = z.object({
  rules: z
    .array(
      z.object({
        host: z.string(),
        http: z.object({
          paths: z.array(
            z.object({
              path: z.string(),
              pathType: z.string(),
              backend: z.object({
                service: z.object({
                  name: z.string(),
                  port: z.object({ number: z.number().optional(), name: z.string().optional() }),
                }),
              }),
            }),
          ),
        }),
      }),
    )
    .default([]),
});
type Backend = z.infer<typeof Spec>['rules'][number]['http']['paths'][number]['backend']['service'];

const Service = z.object({ ports: z.array(z.object({ name: z.string().optional(), port: z.number() })) });

const Slice = z.object({
  ports: z.array(z.object({ name: z.string().optional(), port: z.number() })).nullish(),
  endpoints: z
    .array(
      z.object({
        addresses: z.array(z.string()),
        conditions: z.object({ ready: z.boolean().nullish() }).optional(),
      }),
    )
    .nullish(),
});

interface Path {
  readonly host: string;
  readonly path: string;
  readonly pathType: string;
  readonly backend: Backend;
  readonly ingress: KubernetesObject;
}

/** The whole nginx.conf. The same objects give the same text, which says at `READY_PATH` which one it is. */
export function renderNginx(input: NginxInput, { port, folder }: NginxPlace): string {
  const paths = input.ingresses.flatMap(pathsOf);
  const canaries = paths.filter(({ ingress }) => isCanary(ingress));
  const http: string[] = [];
  const servers = new Map<string, string[]>();
  const primaries = paths.filter(({ ingress }) => !isCanary(ingress));
  for (const [index, primary] of primaries.entries()) {
    const canary = canaries.find(({ host, path }) => host === primary.host && path === primary.path);
    const peers = { stable: peersOf(input, primary), canary: canary === undefined ? [] : peersOf(input, canary) };
    http.push(...upstream(`stable_${index}`, peers.stable));
    if (canary !== undefined && peers.canary.length > 0) {
      http.push(...upstream(`canary_${index}`, peers.canary), ...choice(index, canary.ingress));
    } else {
      // Without anybody ready at the canary there is nothing to choose.
      http.push(`map "" $backend_${index} { default stable_${index}; }`);
    }
    const answer =
      peers.stable.length + peers.canary.length === 0 ? 'return 503' : `proxy_pass http://$backend_${index}`;
    const exact = primary.pathType === 'Exact' ? '= ' : '';
    const locations = servers.get(primary.host) ?? [];
    locations.push(`location ${exact}${safe(primary.path, /^\/[\w./-]*$/u)} { ${answer}; }`);
    servers.set(primary.host, locations);
  }
  const user = process.getuid?.() === 0 ? ['user root;'] : [];
  return `${[
    ...user,
    'daemon off;',
    'worker_processes 1;',
    `pid ${folder}/nginx.pid;`,
    `error_log ${folder}/error.log warn;`,
    'events { worker_connections 512; }',
    'http {',
    'access_log off;',
    'server_tokens off;',
    // A reload closes kept connections that are idle, and a request may be on its way there: ingress-nginx has no reload.
    'keepalive_timeout 0;',
    ...['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((one) => `${one}_temp_path ${folder}/${one};`),
    'proxy_http_version 1.1;',
    'proxy_set_header Connection "";',
    'proxy_set_header Host $host;',
    ...http,
    // Whoever names no host of an Ingress is nobody's.
    `server { listen 127.0.0.1:${port} default_server; location = ${READY_PATH} { return 200 ${digestOf(input)}; } location / { return 404; } }`,
    ...[...servers].flatMap(([host, locations]) => [
      `server { listen 127.0.0.1:${port}; server_name ${safe(host, /^[\w.-]+$/u)};`,
      ...locations,
      '}',
    ]),
    '}',
  ].join('\n')}\n`;
}

/** Names a configuration: the digest of what it is made of. */
export function digestOf(input: NginxInput): string {
  const made = [input.ingresses, input.services, input.endpointSlices].map((objects) =>
    objects.map((object) => [object.metadata.name, object.metadata.resourceVersion, object]),
  );
  return createHash('sha256').update(JSON.stringify(made)).digest('hex');
}

/** `$backend_N`: the header's word, else the cookie's, else the weight's. */
function choice(index: number, canary: KubernetesObject): string[] {
  const { weight, match } = readRouting(canary);
  const header = match.find((one) => one.kind === 'header');
  const cookie = match.find((one) => one.kind === 'cookie');
  const words = ['always canary;', 'never stable;'];
  const name = (text: string): string =>
    safe(text, /^[\w-]+$/u)
      .toLowerCase()
      .replaceAll('-', '_');
  // A share of nothing is no share to nginx.
  const share = weight === null || weight <= 0 ? [] : [`${weight}% canary;`];
  const headerWords = header?.value === null ? words : [`"${safe(header?.value ?? '', /^[\w .:/-]*$/u)}" canary;`];
  return [
    `split_clients $request_id $split_${index} { ${[...share, '* stable;'].join(' ')} }`,
    header === undefined
      ? `map "" $header_${index} { default ""; }`
      : `map $http_${name(header.name)} $header_${index} { ${headerWords.join(' ')} default ""; }`,
    cookie === undefined
      ? `map "" $cookie_word_${index} { default ""; }`
      : `map $cookie_${safe(cookie.name, /^\w+$/u)} $cookie_word_${index} { ${words.join(' ')} default ""; }`,
    `map "$header_${index}|$cookie_word_${index}|$split_${index}" $backend_${index} {`,
    `"~^canary\\|" canary_${index}; "~^stable\\|" stable_${index};`,
    `"~^\\|canary\\|" canary_${index}; "~^\\|stable\\|" stable_${index};`,
    `"~\\|canary$" canary_${index}; default stable_${index}; }`,
  ];
}

function upstream(name: string, peers: readonly string[]): string[] {
  const servers = peers.length === 0 ? ['server 127.0.0.1:1 down;'] : peers.map((peer) => `server ${peer};`);
  return [`upstream ${name} { ${servers.join(' ')} keepalive 16; }`];
}

function pathsOf(ingress: KubernetesObject): Path[] {
  return Spec.parse(ingress['spec']).rules.flatMap(({ host, http }) =>
    http.paths.map(({ path, pathType, backend }) => ({ host, path, pathType, backend: backend.service, ingress })),
  );
}

/** The addresses of a backend's ready pods, as `address:port`. */
function peersOf({ services, endpointSlices }: NginxInput, { backend, ingress }: Path): string[] {
  const { namespace } = ingress.metadata;
  const inPlace = ({ metadata }: KubernetesObject): boolean => metadata.namespace === namespace;
  const service = services.find((one) => inPlace(one) && one.metadata.name === backend.name);
  if (service === undefined) return [];
  const port = Service.parse(service['spec']).ports.find(
    (one) => one.port === backend.port.number || (one.name !== undefined && one.name === backend.port.name),
  );
  if (port === undefined) return [];
  const own = endpointSlices.filter(
    (slice) => inPlace(slice) && slice.metadata.labels?.['kubernetes.io/service-name'] === backend.name,
  );
  const peers = own.flatMap((slice) => {
    const { ports, endpoints } = Slice.parse(slice);
    const target = ports?.find(({ name }) => (name ?? '') === (port.name ?? ''))?.port;
    if (target === undefined) return [];
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    return ready.flatMap(({ addresses }) => addresses.map((address) => `${address}:${target}`));
  });
  return peers.sort();
}

/** Nothing of an object gets into the configuration but what it may say. */
function safe(text: string, allowed: RegExp): string {
  if (allowed.test(text)) return text;
  throw new Error(`${JSON.stringify(text)} is more than this renderer knows to write.`);
}
