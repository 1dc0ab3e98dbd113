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

describe("a track's own Service", () => {
  it('has all of stable’s ports, with what they speak, and neither their ports of the nodes nor its address', () => {
    const selector = { app: 'checkout', 'sluice.dev/track': 'canary' };

    const service = trackService(STABLE, {
      name: 'checkout-canary',
      service: 'checkout',
      release: 'r1',
      track: 'canary',
      fence: { release: 'r1', epoch: 1, step: 1, attempt: 1 },
      selector,
    });

    expect(service['spec']).toEqual({ ports: [HTTP, GRPC], selector });
  });
});
