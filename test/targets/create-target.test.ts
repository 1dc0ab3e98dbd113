import type { TargetPlan } from '../../src/spec/plan-types';
import { createTarget } from '../../src/targets/create-target';
import { FLAG_PLAN } from './flag-plan';
import { targetPlan } from './kubernetes/target-plans';

const world = {
  env: { FLAGS_URL: 'flags:8014/' },
  cluster: (): never => {
    throw new Error('nobody asked for the cluster');
  },
};

describe('a target that this version cannot release to', () => {
  it.each<[string, TargetPlan, RegExp]>([
    [
      'snapshots with blueGreen',
      targetPlan({ strategy: 'blueGreen', config: 'snapshot' }),
      /cannot take snapshots .* allowed there is config: keep/,
    ],
    [
      'a flag of a service with no address',
      FLAG_PLAN,
      /^The environment variable FLAGS_URL, .* is no address where the worker/,
    ],
  ])('%s is refused in a sentence that says what is allowed', (_, plan, sentence) => {
    expect(() => createTarget(plan, world)).toThrow(sentence);
  });
});
