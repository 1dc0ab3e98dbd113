import fc from 'fast-check';
import { createRouterTarget } from '../../src/targets/router/router-target';
import { TargetFailure } from '../../src/targets/target';
import type { Target, WriteFence } from '../../src/targets/target';
import { Instance, TOKEN, PLAIN } from './instance';

const COUNT = 3;

/** What happens between two weight changes, and in the middle of one. */
type Act =
  | { readonly kind: 'die'; readonly instance: number }
  | { readonly kind: 'restart'; readonly instance: number }
  | { readonly kind: 'setWeight'; readonly weight: number; readonly deaths: readonly Death[] };

/** An instance dies at the so many-th request of a call, before or after it did what it was asked. */
interface Death {
  readonly instance: number;
  readonly request: number;
  readonly when: 'before' | 'after';
  /** Comes back at once, having forgotten everything. */
  readonly returns: boolean;
}

const instance = fc.nat({ max: COUNT - 1 });
const death: fc.Arbitrary<Death> = fc.record<Death>({
  instance,
  request: fc.nat({ max: 3 }),
  when: fc.constantFrom('before', 'after'),
  returns: fc.boolean(),
});
const act: fc.Arbitrary<Act> = fc.oneof(
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('die' as const), instance }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('restart' as const), instance }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('setWeight' as const),
      weight: fc.constantFrom(0, 5, 25, 50, 100),
      deaths: fc.oneof(fc.constant([]), fc.array(death, { maxLength: 3 })),
    }),
  },
);

/** One release that goes through the acts; checks after each weight change that all reached it or none kept it. */
async function play(acts: readonly Act[]): Promise<void> {
  const instances = await Promise.all(Array.from({ length: COUNT }, () => new Instance().start()));
  const plan = {
    kind: 'router' as const,
    instances: instances.map((one) => one.url),
    tokenEnv: 'TOKEN',
    overrideSecretEnv: 'SECRET',
  };
  const target = createRouterTarget(plan, { TOKEN }, { adminTimeoutMs: 2_000 });
  try {
    let step = 1;
    const fence = (): WriteFence => ({ release: 'r1', epoch: 1, step: (step += 1), attempt: 2 });
    await target.deploy({ ...PLAIN, version: 'v2', fence: fence(), signal: new AbortController().signal });
    let weight = 0;
    for (const next of acts) {
      if (next.kind === 'die') await instances[next.instance]?.die();
      else if (next.kind === 'restart') await restart(instances[next.instance]);
      else weight = await changeWeight(target, instances, { ...next, fence: fence(), previousWeight: weight });
    }
  } finally {
    target.close();
    for (const one of instances) await one.die();
  }
}

async function changeWeight(
  target: Target,
  instances: readonly Instance[],
  change: { weight: number; previousWeight: number; deaths: readonly Death[]; fence: WriteFence },
): Promise<number> {
  const { weight, previousWeight, deaths, fence } = change;
  const settled: Promise<void>[] = [];
  instances.forEach((one, index) => {
    const mine = deaths.filter((each) => each.instance === index);
    let seen = -1;
    one.proxy = async () => {
      seen += 1;
      const end = mine.find((each) => each.request === seen);
      if (end === undefined) return 'pass';
      const dying = async (): Promise<void> => {
        await one.die();
        if (end.returns) await restart(one);
      };
      if (end.when === 'before') await dying();
      else settled.push(new Promise((resolve) => setImmediate(resolve)).then(dying));
      return end.when === 'before' ? 'refuse' : 'lost';
    };
  });

  let failure: unknown = null;
  try {
    await target.setWeight({
      ...PLAIN,
      version: 'v2',
      fence,
      weight,
      previousWeight,
      signal: new AbortController().signal,
    });
  } catch (error) {
    failure = error;
  }
  await Promise.all(settled);
  for (const one of instances) one.proxy = () => 'pass';

  // Those that died in the middle and came back know of nothing: they are at 0 and keep no raise.
  const reborn = new Set(deaths.filter((each) => each.returns).map((each) => each.instance));
  const live = instances.flatMap((one, index) =>
    one.alive ? [{ weight: one.router.snapshot().weight, reborn: reborn.has(index) }] : [],
  );
  if (failure === null) {
    expect(live.filter((one) => one.weight !== weight && !one.reborn)).toEqual([]);
    return weight;
  }
  expect(failure).toBeInstanceOf(TargetFailure);
  expect((failure as TargetFailure).kind).toBe('unreachable');
  // Of a raise nobody keeps more than before; of a lowering everyone who lives has at most what was asked for.
  const most = weight > previousWeight ? previousWeight : weight;
  expect(live.filter((one) => one.weight > most)).toEqual([]);
  return previousWeight;
}

async function restart(one: Instance | undefined): Promise<void> {
  if (one !== undefined && !one.alive) await one.start();
}

describe('a weight change among instances that die and come back', () => {
  it('is reached by all that live, or kept by none', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 3, maxLength: 12 }), (acts) => play(acts)),
      { numRuns: 60, interruptAfterTimeLimit: 40_000, markInterruptAsFailure: false },
    );
  });
});
