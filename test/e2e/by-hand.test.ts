import path from 'node:path';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { describeWithLab } from '../lab/describe-with-lab';
import { ensureNginx } from '../lab/parts';
import type { Nginx } from '../lab/parts';
import { tell } from '../lab/tell';
import { byNginx, byTraefik, servesLonger } from './entrances';
import { eventually } from './eventually';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';
import { forTheShopsSelector, OnDuty, Runbook } from './runbook';
import { Scenario, together } from './scenario';
import type { ScenarioChoices } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const ROOT = path.join(__dirname, '..', '..');
const PAGE = new Runbook(ROOT, 'roll-back-by-hand.md');
const STUCK = new Runbook(ROOT, 'release-stuck.md');

/** A soak that lasts until somebody ends it. */
const HALF: SpecChoices = { weights: [50, 100], soak: '10m' };

/**
 * docs/runbooks/roll-back-by-hand.md by its own commands, as they stand there, for each router and each state of a
 * release that it speaks of, while the worker is at work and users ask. (Of blue and green: runbooks.test.ts.)
 */
describeWithLab('a release that is taken back by hand', (lab) => {
  let nginx: Nginx;
  let stack: ReleaseStack;

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    nginx = await ensureNginx(tell);
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (choices: () => ScenarioChoices, play: (one: Scenario, onDuty: OnDuty) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(
        lab,
        stack,
        name,
        (one) => {
          const at = { root: ROOT, namespace: one.namespace, address: stack.address };
          return OnDuty.during(lab, at, (onDuty) => play(one, onDuty));
        },
        choices(),
      );

  const soaking = (one: Scenario): Promise<unknown> => one.until((status) => status.phase === 'soaking');

  /** Users have the new version, too: until then there is nothing to take back. */
  const served = (one: Scenario): Promise<void> =>
    eventually(() => one.load.served.some(({ version }) => version === 'v2'), 'users have the new version', 120_000);

  /** With kubectl alone, while the release would go on: it finds that it was overtaken, and nothing of it is left. */
  const withKubectl =
    (title: string, spec: SpecChoices, asAPersonReads: (commands: string) => string = (commands) => commands) =>
    async (one: Scenario, onDuty: OnDuty): Promise<void> => {
      await one.release('v2', spec);
      await soaking(one);
      await served(one);
      await onDuty.succeed(...PAGE.section(title).map(asAPersonReads));
      const status = await one.ended();
      expect(status).toMatchObject({ outcome: 'superseded' });
      await one.shop.drained();
      await one.expectAllOld(status, undefined, { byHand: true });
    };

  together({
    'by NGINX annotations, with kubectl alone': scenario(
      () => byNginx(nginx, stack.cluster),
      withKubectl('NGINX', { ...HALF, traffic: '{ nginx: { ingress: shop } }' }),
    ),

    'by a TraefikService, with kubectl alone': scenario(
      () => ({ ...byTraefik(lab), changing: ['TraefikService/shop'] }),
      withKubectl('Traefik', { ...HALF, traffic: '{ traefik: { traefikService: shop } }' }),
    ),

    'by the Service’s selector, with kubectl alone': scenario(
      () => ({}),
      withKubectl(
        "A Service's selector",
        { weights: [100], soak: '10m', traffic: '{ serviceSelector: {} }' },
        forTheShopsSelector,
      ),
    ),

    'by the number of pods, with kubectl alone': scenario(
      () => ({ replicas: 4, prepare: servesLonger }),
      withKubectl('The number of pods', { ...HALF, traffic: '{ replicas: {} }', smokeTest: 'false' }),
    ),

    'by an HTTPRoute that leads marked requests to the canary, with kubectl alone': scenario(
      () => ({ changing: ['HTTPRoute/shop'] }),
      withKubectl(
        'With kubectl alone',
        { ...HALF, before: '    - match: { header: { x-canary: "true" } }' },
        // The page: the rule of the match goes first, in the same patch.
        (commands) =>
          commands.replace(
            /--type=json -p '\[\n(?= *\{"op": "replace")/,
            `$&  ${PAGE.inline('{"op": "remove", "path": "/spec/rules/0"}')},\n`,
          ),
      ),
    ),

    'in the middle of a promotion, with kubectl alone': scenario(
      () => ({ changing: ['HTTPRoute/shop'] }),
      async (one, onDuty) => {
        await one.release('v2', { weights: [100], soak: '6s' });
        await one.until((status) => status.phase === 'promoting');
        const promoted = async (): Promise<boolean> => (await one.shop.imageOf()) !== one.shop.image('v1');
        await eventually(promoted, 'the promotion has given stable the new version', 120_000);
        await onDuty.succeed(...PAGE.section('In the middle of a promotion'));
        const status = await one.ended();
        expect(status).toMatchObject({ outcome: 'superseded' });
        await one.shop.drained();
        await one.expectAllOld(status, undefined, { byHand: true });
      },
    ),

    'with Temporal’s own command line, by a cancellation': scenario(
      () => ({}),
      async (one, onDuty) => {
        await one.release('v2', HALF);
        await soaking(one);
        await onDuty.succeed(PAGE.inline('temporal workflow cancel --workflow-id "release:$NAMESPACE/$SERVICE"'));
        const status = await one.ended();
        expect(status).toMatchObject({ outcome: 'aborted' });
        await one.expectAllOld(status);
      },
    ),

    'by the answer no to the question whether to go on': scenario(
      () => ({}),
      async (one, onDuty) => {
        await one.release('v2', {
          ...HALF,
          before: '    - { weight: 25, soak: 6s }\n    - approve: { timeout: 10m }',
        });
        await one.until((status) => status.phase === 'awaitingApproval');
        await onDuty.succeed(`${STUCK.inline('sluice reject "$NAMESPACE/$SERVICE"')} --yes`);
        const status = await one.ended();
        expect(status).toMatchObject({ outcome: 'rejected' });
        await one.expectAllOld(status);
      },
    ),
  });
});
