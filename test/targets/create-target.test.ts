import type { TargetPlan } from '../../src/spec/plan-types';
import { createTarget } from '../../src/targets/create-target';
import { targetPlan } from './kubernetes/target-plans';

const world = {
  env: {},
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
    ['flags', { kind: 'flag', name: 'new-till', environment: 'production' }, /kind flag yet; .*kubernetes, router/],
  ])('%s is refused in a sentence that says what is allowed', (_, plan, sentence) => {
    expect(() => createTarget(plan, world)).toThrow(sentence);
  });
});
