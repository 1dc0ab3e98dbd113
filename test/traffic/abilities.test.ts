import { MATCHES } from '../../src/spec/checks';
import type { TrafficPlan } from '../../src/spec/plan-types';
import { createTrafficRouter } from '../../src/traffic/create-traffic-router';
import type { TrafficSettings } from '../../src/traffic/create-traffic-router';
import { FakeCluster } from './fake-cluster';

const SETTINGS: Readonly<Record<TrafficPlan['kind'], TrafficSettings>> = {
  gatewayAPI: { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
  nginx: { kind: 'nginx', ingresses: ['checkout'] },
  traefik: { kind: 'traefik', traefikService: 'checkout' },
  istio: { kind: 'istio', virtualService: 'checkout' },
  serviceSelector: { kind: 'serviceSelector', stable: { app: 'checkout' }, canary: { app: 'checkout-canary' } },
  replicas: { kind: 'replicas', stableDeployment: 'checkout', canaryDeployment: 'checkout-canary', total: 4 },
};

it.each(Object.entries(SETTINGS))('the spec allows %s the matches that its router can do', (kind, settings) => {
  const services = { namespace: 'shop', stable: 'checkout', canary: 'checkout-canary' };
  const { abilities } = createTrafficRouter(new FakeCluster(), services, settings);

  expect(MATCHES[kind as TrafficPlan['kind']]).toEqual(abilities.matches);
});
