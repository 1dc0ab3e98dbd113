import { describeWithLab } from '../lab/describe-with-lab';
import { GrpcCaller } from '../lab/grpc';
import type { Lab } from '../lab/lab';
import { shopHost } from '../lab/shop-manifests';
import { byGrpc, byTraefik, grpcHost, servesLonger } from './entrances';
import type { Way } from './entrances';
import { eventually } from './eventually';
import { ADA, startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { Scenario, together } from './scenario';
import type { ScenarioChoices } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const GRPC: SpecChoices = { traffic: '{ gatewayAPI: { grpcRoute: shop } }' };
/** A service that speaks both. */
const BOTH: SpecChoices = { traffic: '{ gatewayAPI: { httpRoute: shop, grpcRoute: shop } }' };
const TRAEFIK: SpecChoices = { traffic: '{ traefik: { traefikService: shop } }' };
const SELECTOR: SpecChoices = { traffic: '{ serviceSelector: {} }', weights: [100] };
/** A first weight for as long as a test wants it, and then all. */
const first = (weight: number): SpecChoices => ({ before: `    - { weight: ${weight}, soak: 5m }`, weights: [100] });
/** Marked requests alone, for as long as a test wants it. */
const MARKED = '    - match: { header: { x-canary: "true" } }\n    - approve: { by: [oncall], timeout: 5m }';
/** Of four pods one is a quarter. */
const REPLICAS: SpecChoices = { traffic: '{ replicas: {} }', smokeTest: 'false' };

describeWithLab('those who split beside HTTPRoutes and Ingresses, with real traffic', (lab) => {
  let stack: ReleaseStack;
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (choices: ScenarioChoices, play: (scenario: Scenario) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, play, choices);

  const soaks =
    (weight: number) =>
    (status: { phase: string; weight: number }): boolean =>
      status.phase === 'soaking' && status.weight === weight;

  together({
    'a GRPCRoute is split as it was asked to, and promoted with not one failed call': scenario(
      byGrpc(lab),
      async (one) => {
        await one.release('v2', { ...GRPC, ...first(30) });
        await one.until(soaks(30));
        await one.expectShare(30);
        await stack.client.skipSoak(one.ref, { actor: ADA });

        await one.expectAllNew(await one.ended());
      },
    ),

    'a GRPCRoute takes a failing version back': scenario(byGrpc(lab), async (one) => {
      await one.release('v3', GRPC);
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      await one.expectAllOld(status, 'v3');
    }),

    'a GRPCRoute gives marked calls the new version before anybody else, and an HTTPRoute beside it does not fail':
      scenario(byBoth(lab), async (one) => {
        await one.release('v2', { ...BOTH, before: MARKED, weights: [100] });
        await one.until((status) => status.phase === 'awaitingApproval');
        const caller = new GrpcCaller(lab.gatewayUrl, grpcHost(one));
        try {
          // The gateway takes a moment from the status that it gives to the requests that it serves.
          const marked = async (): Promise<boolean> => (await caller.browse({ 'x-canary': 'true' })).version === 'v2';
          await eventually(marked, 'a marked call gets the new version');
        } finally {
          caller.close();
        }
        for (const load of one.loads) expect(load.served.filter(({ version }) => version !== 'v1')).toEqual([]);
        await one.approve();

        await one.expectAllNew(await one.ended());
      }),

    'a TraefikService is split as it was asked to, and promoted with not one failed request': scenario(
      byTraefik(lab),
      async (one) => {
        await one.release('v2', { ...TRAEFIK, ...first(30) });
        await one.until(soaks(30));
        await one.expectShare(30);
        await stack.client.skipSoak(one.ref, { actor: ADA });

        await one.expectAllNew(await one.ended());
      },
    ),

    'a TraefikService takes a failing version back': scenario(byTraefik(lab), async (one) => {
      await one.release('v3', TRAEFIK);
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      await one.expectAllOld(status, 'v3');
    }),

    'the number of pods is the share, and stable has as many as before after the promotion': scenario(
      { replicas: 4, prepare: servesLonger },
      async (one) => {
        await one.release('v2', { ...REPLICAS, ...first(25) });
        await one.until(soaks(25));
        const sizes = [await one.shop.replicas('shop'), await one.shop.replicas('shop-canary')];
        await one.expectShare(25);
        await stack.client.skipSoak(one.ref, { actor: ADA });

        expect(sizes).toEqual([3, 1]);
        const status = await one.ended();
        await one.shop.drained();
        await one.expectAllNew(status);
        expect(await one.shop.replicas()).toBe(4);
      },
    ),

    'the number of pods takes a failing version back': scenario({ replicas: 4, prepare: servesLonger }, async (one) => {
      await one.release('v3', { ...REPLICAS, weights: [25, 100] });
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      await one.shop.drained();
      await one.expectAllOld(status, 'v3');
    }),

    'a canary by the Service’s selector gets all of the traffic in one write, and not one request fails': scenario(
      {},
      async (one) => {
        await one.release('v2', SELECTOR);

        await one.expectAllNew(await one.ended());
      },
    ),

    'a canary by the Service’s selector that fails is taken back': scenario({}, async (one) => {
      await one.release('v3', SELECTOR);
      const status = await one.ended();

      expect(status.outcome).toBe('rolledBack');
      await one.expectAllOld(status, 'v3');
    }),
  });
});

/** By its GRPCRoute and its HTTPRoute. */
function byBoth(lab: Lab): Way {
  const { prepare, enter } = byGrpc(lab);
  return {
    prepare,
    enter: async (shop) => {
      const { entrances, leave } = await enter(shop);
      return { entrances: [...entrances, { url: lab.gatewayUrl, host: shopHost(shop.namespace) }], leave };
    },
  };
}
