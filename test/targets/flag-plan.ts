import type { FlagTargetPlan } from '../../src/spec/plan-types';

export const FLAG_PLAN: FlagTargetPlan = {
  kind: 'flag',
  name: 'new-till',
  environment: 'production',
  urlEnv: 'FLAGS_URL',
  tokenEnv: 'FLAGS_TOKEN',
};
