import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { trackService } from '../../../src/targets/kubernetes/track-manifest';

const HTTP = { name: 'http', port: 80, targetPort: 'http', protocol: 'TCP' };
const GRPC = { name: 'grpc', port: 50_051, targetPort: 'grpc', protocol: 'TCP', appProtocol: 'kubernetes.io/h2c' };

const STABLE: KubernetesObject = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'checkout', namespace: 'shop', labels: { team: 'shop' } },
  spec: {
    type: 'NodePort',
    clusterIP: '10.96.0.7',
    selector: { app: 'checkout' },
    ports: [
      { ...HTTP, nodePort: 30_080 },
      { ...GRPC, nodePort: 30_051 },
    ],
  },
};

const MAKE = {
  name: 'checkout-canary',
  service: 'checkout',
  release: 'r1',
  track: 'canary',
  fence: { release: 'r1', epoch: 1, step: 1, attempt: 1 },
} as const;

describe("a track's own Service", () => {
  it('has all of stable’s ports, with what they speak, and neither their ports of the nodes nor its address', () => {
    const selector = { app: 'checkout', 'sluice.dev/track': 'canary' };

    const service = trackService(STABLE, { ...MAKE, selector, isScraped: true });

    expect(service['spec']).toEqual({ ports: [HTTP, GRPC], selector });
  });

  it('is spoken to and scraped as stable’s is, and shares nothing that is one Service’s own', () => {
    const shared = { 'traefik.ingress.kubernetes.io/service.serversscheme': 'h2c', 'prometheus.io/scrape': 'true' };
    const own = {
      'external-dns.alpha.kubernetes.io/hostname': 'checkout.example',
      'kubectl.kubernetes.io/last-applied-configuration': '{}',
      'argocd.argoproj.io/tracking-id': 'shop:/Service:shop/checkout',
    };
    const stable = { ...STABLE, metadata: { ...STABLE.metadata, annotations: { ...shared, ...own } } };

    const annotationsOf = (isScraped: boolean): unknown =>
      trackService(stable, { ...MAKE, isScraped, selector: { app: 'checkout' } }).metadata.annotations;

    const fence = { 'sluice.dev/fence': JSON.stringify(MAKE.fence) };
    expect(annotationsOf(true)).toEqual({ ...shared, ...fence });
    // The pods of a colour that is switched to are scraped by the Service that has the traffic, and once is enough.
    const { 'prometheus.io/scrape': _, ...spoken } = shared;
    expect(annotationsOf(false)).toEqual({ ...spoken, ...fence });
  });
});
