import { createServer, get } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import { newCanary, withRouting } from '../../src/traffic/canary-ingress';
import type { TrafficDocument } from '../../src/traffic/traffic-router';
import { findNginx } from '../lab/parts';
import type { Nginx } from '../lab/parts';
import { NginxPlane } from './plane';
import { renderNginx } from './render';
import type { NginxInput } from './render';

const namespace = 'shop';

/** Two programs on loopback that stand for the pods of the tracks. */
const pods: Server[] = [];
let ports: Record<'stable' | 'canary', number>;

async function startPod(track: string): Promise<number> {
  const pod = createServer((_request, response) => response.setHeader('x-version', track).end(track));
  pods.push(pod);
  await new Promise<void>((resolve) => pod.listen(0, '127.0.0.1', resolve));
  return (pod.address() as AddressInfo).port;
}

beforeAll(async () => {
  ports = { stable: await startPod('stable'), canary: await startPod('canary') };
});
afterAll(() => {
  for (const pod of pods) {
    pod.closeAllConnections();
    pod.close();
  }
});

function ingress(name: string, host: string): KubernetesObject {
  const backend = { service: { name: 'shop', port: { number: 80 } } };
  const rules = [{ host, http: { paths: [{ path: '/', pathType: 'Prefix', backend }] } }];
  return { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', metadata: { name, namespace }, spec: { rules } };
}

/** The canary twin as the release itself makes it. */
function canary(primary: KubernetesObject, document: TrafficDocument): KubernetesObject {
  const services = { namespace, stable: 'shop', canary: 'shop-canary' };
  return withRouting(newCanary(primary, services), document) as KubernetesObject;
}

function service(name: string): KubernetesObject {
  const metadata = { name, namespace };
  return { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ name: 'http', port: 80 }] } };
}

function slice(of: string, port: number, ready = true): KubernetesObject {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${of}-1`, namespace, labels: { 'kubernetes.io/service-name': of } },
    ports: [{ name: 'http', port }],
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready } }],
  };
}

function cluster(document: TrafficDocument | null, { ready = true }: { readonly ready?: boolean } = {}): NginxInput {
  const primaries = [ingress('shop', 'shop.example'), ingress('intern', 'intern.example')];
  const twins = document === null ? [] : primaries.map((primary) => canary(primary, document));
  return {
    ingresses: [...primaries, ...twins],
    services: [service('shop'), service('shop-canary')],
    endpointSlices: [slice('shop', ports.stable), slice('shop-canary', ports.canary, ready)],
  };
}

const weight = (percent: number, match: TrafficDocument['match'] = []): TrafficDocument => ({ weight: percent, match });
const HEADER = { kind: 'header', name: 'X-Canary', value: 'yes' } as const;
const BARE_HEADER = { kind: 'header', name: 'X-Canary', value: null } as const;
const COOKIE = { kind: 'cookie', name: 'beta' } as const;

describe('the configuration of nginx for canary Ingresses', () => {
  it('is the same for the same objects', () => {
    const place = { port: 1, folder: '/tmp/none' };

    expect(renderNginx(cluster(weight(25)), place)).toBe(renderNginx(cluster(weight(25)), place));
  });

  it('says nothing that an object has no business to say', () => {
    const input = cluster(weight(25, [{ kind: 'cookie', name: 'beta;' }]));

    expect(() => renderNginx(input, { port: 1, folder: '/tmp/none' })).toThrow('more than this renderer knows');
  });
});

const nginx = findNginx();
if (nginx === undefined) {
  process.stderr.write('skipped "a real nginx": it is not in the cache; scripts/lab build --api-server fetches it\n');
}

(nginx === undefined ? describe.skip : describe)('a real nginx that serves canary Ingresses', () => {
  let plane: NginxPlane;

  beforeAll(async () => {
    plane = await NginxPlane.start(nginx as Nginx, cluster(null));
  });
  afterAll(() => plane.stop());

  function ask(headers: Readonly<Record<string, string>> = {}, host = 'shop.example'): Promise<string> {
    return new Promise((resolve, reject) => {
      // fetch does not let the Host header be set.
      get(plane.url, { headers: { host, ...headers } }, (response) => {
        response.resume();
        response.once('end', () => resolve(String(response.headers['x-version'] ?? response.statusCode)));
      }).once('error', reject);
    });
  }

  const all = async (count: number, headers: Readonly<Record<string, string>>): Promise<string[]> => [
    ...new Set(await Promise.all(Array.from({ length: count }, () => ask(headers)))),
  ];

  it('leads by the host, and nobody without one', async () => {
    expect([await ask(), await ask({}, 'intern.example'), await ask({}, 'other.example')]).toEqual([
      'stable',
      'stable',
      '404',
    ]);
  });

  it('splits by the weight, on every Ingress of the service', async () => {
    await plane.serve(cluster(weight(25)));
    for (const host of ['shop.example', 'intern.example']) {
      const total = 500;
      let canaries = 0;
      for (let asked = 0; asked < total; asked += 50) {
        const some = await Promise.all(Array.from({ length: 50 }, () => ask({}, host)));
        canaries += some.filter((version) => version === 'canary').length;
      }
      const chiSquared = (canaries - total * 0.25) ** 2 / (total * 0.25 * 0.75);
      // One degree of freedom; a split that is right fails this once in a hundred thousand runs.
      expect(chiSquared).toBeLessThan(19.5);
    }
  });

  it.each<[string, TrafficDocument, Readonly<Record<string, string>>, string]>([
    ['a header of the value', weight(0, [HEADER]), { 'x-canary': 'yes' }, 'canary'],
    ['a header of another value', weight(0, [HEADER]), { 'x-canary': 'no' }, 'stable'],
    [
      'a header of the value `always` where another is asked for',
      weight(0, [HEADER]),
      { 'x-canary': 'always' },
      'stable',
    ],
    ['a header without a value that says always', weight(0, [BARE_HEADER]), { 'x-canary': 'always' }, 'canary'],
    ['a header that says never, at 100 %', weight(100, [BARE_HEADER]), { 'x-canary': 'never' }, 'stable'],
    ['a cookie that says always', weight(0, [COOKIE]), { cookie: 'a=b; beta=always' }, 'canary'],
    ['a cookie that says never, at 100 %', weight(100, [COOKIE]), { cookie: 'beta=never' }, 'stable'],
    ['a cookie that says something else, at 100 %', weight(100, [COOKIE]), { cookie: 'beta=yes' }, 'canary'],
    [
      'a header before a cookie',
      weight(0, [BARE_HEADER, COOKIE]),
      { 'x-canary': 'never', cookie: 'beta=always' },
      'stable',
    ],
    [
      'a cookie where the header has no say',
      weight(0, [HEADER, COOKIE]),
      { 'x-canary': 'no', cookie: 'beta=always' },
      'canary',
    ],
    ['nobody marked', weight(0, [HEADER, COOKIE]), {}, 'stable'],
  ])('goes by %s', async (_, document, headers, track) => {
    await plane.serve(cluster(document));

    expect(await all(30, headers)).toEqual([track]);
  });

  it('keeps to stable while nobody at the canary is ready', async () => {
    await plane.serve(cluster(weight(100), { ready: false }));

    expect(await all(30, {})).toEqual(['stable']);
  });
});
