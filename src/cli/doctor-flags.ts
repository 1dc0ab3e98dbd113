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
  const flag = plan === null ? null : await foundFlag(session, plan);
  yield keyCheck(key, writtenIn(plan, flag), names.tokenEnv);
  try {
    // From the store, not from memory.
    await askFlagService(env, (service) => service.list({ limit: 1 }), names);
    yield ok('flag store', 'answers the flag service.');
  } catch (error) {
    yield bad('flag store', error, 'Without it flags are answered as last known, and none can be changed.');
    return;
  }
  if (plan === null || flag === null) return;
  const name = `flag ${plan.name}`;
  yield 'missing' in flag ? bad(name, flag.missing, null) : flagCheck(name, plan, flag);
}

/** The flag of a release, or why it cannot be read. */
async function foundFlag({ cli }: Session, plan: FlagTargetPlan): Promise<FlagAnswer | { readonly missing: unknown }> {
  try {
    return await askFlagService(cli.env, (service) => service.get(plan.name), plan);
  } catch (error) {
    return { missing: error };
  }
}

/** Where a key has to be one for writing: wherever the flag counts, which is everywhere (`*`) when it names nothing. */
function writtenIn(plan: FlagTargetPlan | null, flag: Awaited<ReturnType<typeof foundFlag>> | null): readonly string[] {
  if (plan === null) return [];
  if (flag === null || 'missing' in flag) return [plan.environment];
  return flag.environments.length === 0 ? ['*'] : flag.environments;
}

/** Of a release: in all of these environments. Of none: anywhere. */
function keyCheck({ id, grants }: KeyAnswer, environments: readonly string[], tokenEnv: string): Check {
  const said = grants.map(({ role, environment }) => `${role}:${environment}`).join(', ');
  const writing = grants.filter(({ role }) => role === 'write' || role === 'admin');
  const missing = environments.filter(
    (wanted) => !writing.some(({ environment }) => environment === '*' || environment === wanted),
  );
  if (writing.length > 0 && missing.length === 0) return ok(tokenEnv, `${id} may ${said}.`);
  const no = (where: string): string => `${id} may not write ${where}: ${said}.`;
  if (environments.length === 0) {
    const hint = 'A release needs a key with write:*; a flag that names its environments needs it for each of these.';
    return { name: tokenEnv, state: 'warn', sentence: no('anywhere'), hint };
  }
  if (missing.includes('*')) {
    const hint = 'A flag without environments needs a key with write:*; or name its environments.';
    return { name: tokenEnv, state: 'bad', sentence: no('in all environments, where the flag counts'), hint };
  }
  const grantsNeeded = missing.map((environment) => `write:${environment}`).join(', ');
  const hint = `A release needs a key that may write wherever the flag counts, so also ${grantsNeeded}.`;
  return { name: tokenEnv, state: 'bad', sentence: no(`in ${missing.join(', ')}`), hint };
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
