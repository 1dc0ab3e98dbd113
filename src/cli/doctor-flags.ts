import type { FlagAnswer, KeyAnswer } from '../flags/answers';
import { FLAGS_TOKEN_ENV, FLAGS_URL_ENV } from '../spec/defaults';
import type { FlagTargetPlan } from '../spec/plan-types';
import { bad, ok } from './check';
import type { Check } from './check';
import { askFlagService } from './flag-service';
import type { Session } from './session';

/**
 * The flag service that a release of a flag needs, or that the environment names. The worker's environment counts; this
 * one is taken to be like it.
 */
export async function* flagServiceChecks(session: Session, plan: FlagTargetPlan | null): AsyncGenerator<Check> {
  const { env } = session.cli;
  const names = plan ?? { urlEnv: FLAGS_URL_ENV, tokenEnv: FLAGS_TOKEN_ENV };
  if (plan === null && (env[names.urlEnv]?.trim() ?? '') === '') return;
  let key: KeyAnswer;
  try {
    key = await askFlagService(env, (service) => service.key(), names);
    yield ok('flag service', 'answers, and takes the key.');
  } catch (error) {
    yield bad('flag service', error, `Check ${names.urlEnv} and ${names.tokenEnv}.`);
    return;
  }
  yield keyCheck(key, plan, names.tokenEnv);
  try {
    // From the store, not from memory.
    await askFlagService(env, (service) => service.list({ limit: 1 }), names);
    yield ok('flag store', 'answers the flag service.');
  } catch (error) {
    yield bad('flag store', error, 'Without it flags are answered as last known, and none can be changed.');
    return;
  }
  if (plan === null) return;
  const name = `flag ${plan.name}`;
  try {
    yield flagCheck(name, plan, await askFlagService(env, (service) => service.get(plan.name), names));
  } catch (error) {
    yield bad(name, error, null);
  }
}

function keyCheck({ id, grants }: KeyAnswer, plan: FlagTargetPlan | null, tokenEnv: string): Check {
  const said = grants.map(({ role, environment }) => `${role}:${environment}`).join(', ');
  const writes = grants.some(
    ({ role, environment }) =>
      (role === 'write' || role === 'admin') &&
      (plan === null || environment === '*' || environment === plan.environment),
  );
  if (writes) return ok(tokenEnv, `${id} may ${said}.`);
  const where = plan === null ? 'anywhere' : `in ${plan.environment}`;
  const hint = `A release needs a key with write:${plan?.environment ?? '*'}; a flag without environments needs write:*.`;
  return {
    name: tokenEnv,
    state: plan === null ? 'warn' : 'bad',
    sentence: `${id} may not write ${where}: ${said}.`,
    hint,
  };
}

function flagCheck(name: string, { environment }: FlagTargetPlan, flag: FlagAnswer): Check {
  const percentage = flag.rollout_percentage === null ? 'for everybody' : `at ${flag.rollout_percentage} %`;
  if (flag.environments.length > 0 && !flag.environments.includes(environment)) {
    const sentence = `is never on in ${environment}; its environments are ${flag.environments.join(', ')}.`;
    return { name, state: 'bad', sentence, hint: `Add ${environment} to them, or name one of them in the spec.` };
  }
  if (!flag.enabled) {
    const hint = `Switch it on with sluice flag set ${flag.name} --on --percentage 0.`;
    return { name, state: 'bad', sentence: 'is switched off, so a release of it is refused.', hint };
  }
  return ok(name, `is on, ${percentage}.`);
}
