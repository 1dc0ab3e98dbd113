import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { describeWithLab } from '../lab/describe-with-lab';
import type { SeenRequest } from './api-proxy';
import { eventually } from './eventually';
import { GAVE_UP, LateWorker } from './late-worker';
import { pairChoices } from './pair';
import type { SpecChoices } from './release-stack';
import { Scenario, together } from './scenario';
import type { ScenarioChoices } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

/** One after another: the roll back is to be over before the attempt that is held gives up by itself. */
const AT_ONCE = 1;

/** Releases of which one is to show that: a busy machine may be too slow for it now and then. */
const TURNS = 5;

const CANARY: SpecChoices = { weights: [50, 100], soak: '5m' };
const PAIR: SpecChoices = pairChoices({ soak: '5m' });

const reads =
  (path: string) =>
  (request: SeenRequest): boolean =>
    request.method === 'GET' && request.path.endsWith(path);

describeWithLab('an attempt that goes on after the roll back by another worker', (lab) => {
  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);

  const writesNothing =
    (isHeld: (request: SeenRequest) => boolean, spec: SpecChoices, choices: ScenarioChoices = {}) =>
    async (name: string): Promise<void> => {
      const late = await LateWorker.start(lab, isHeld);
      try {
        const play = async (one: Scenario): Promise<void> => {
          for (let turn = 1; ; turn += 1) {
            await one.release('v2', spec);
            await eventually(() => late.isHeld, 'an attempt reads before it writes', 120_000);
            await one.rollback();
            const status = await one.ended();
            late.goOn();
            await eventually(() => late.failure() !== null, 'the late attempt has failed');

            expect(late.lateWrites()).toEqual([]);
            const why = late.failure();
            late.reconnect();
            if (turn < TURNS && GAVE_UP.test(why ?? '')) continue;
            // By the fence that it has read, and by nothing else.
            expect(why).toMatch(/came too late|by a later write/);
            await one.expectAllOld(status);
            return;
          }
        };
        await Scenario.run(lab, late.stack, name, play, choices);
      } finally {
        await late.stop();
      }
    };

  together(
    {
      'writes nothing when it raises the weight and looks at the route': writesNothing(
        reads('/httproutes/shop'),
        CANARY,
      ),
      'writes nothing when it raises the weight and looks at the canary': writesNothing(
        reads('/deployments/shop-canary'),
        CANARY,
      ),
      'writes nothing when it switches and looks at the Service': writesNothing(reads('/services/shop'), PAIR, {
        pair: true,
      }),
      'writes nothing when it switches and looks at the new colour': writesNothing(
        reads('/deployments/shop-green'),
        PAIR,
        { pair: true },
      ),
    },
    AT_ONCE,
  );
});
