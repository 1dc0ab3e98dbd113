import type { TrafficPlan } from '../../../src/spec/plan-types';
import { letGatewaysHear } from '../../../src/targets/kubernetes/track-checks';

const GATEWAYS: readonly TrafficPlan[] = [
  { kind: 'gatewayAPI', routes: [{ kind: 'HTTPRoute', name: 'checkout' }] },
  { kind: 'nginx', ingresses: ['checkout'] },
  { kind: 'traefik', traefikService: 'checkout' },
  { kind: 'istio', virtualService: 'checkout' },
];

describe('the time in which gateways hear of the first pods', () => {
  const signal = AbortSignal.timeout(60_000);

  it.each(GATEWAYS)('is given with %j', async (traffic) => {
    const gatewaysHear = jest.fn(() => Promise.resolve());
    await letGatewaysHear({ gatewaysHear }, traffic, signal);

    expect(gatewaysHear).toHaveBeenCalledTimes(1);
  });

  it.each<TrafficPlan>([{ kind: 'serviceSelector' }, { kind: 'replicas' }])('is none with %j', async (traffic) => {
    const gatewaysHear = jest.fn(() => Promise.resolve());
    await letGatewaysHear({ gatewaysHear }, traffic, signal);

    expect(gatewaysHear).not.toHaveBeenCalled();
  });

  it('ends with the activity', async () => {
    const over = new AbortController();
    const heard = letGatewaysHear({}, { kind: 'nginx', ingresses: ['checkout'] }, over.signal);
    over.abort();

    await expect(heard).rejects.toThrow(/abort/i);
  });
});
