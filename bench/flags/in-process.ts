import { compileFlag, evaluateFlag } from '../../src/flags/evaluate';
import type { CompiledFlag } from '../../src/flags/evaluate';
import { FlagChecks } from '../../src/flags/checks';
import { CreateFlag, newFlag } from '../../src/flags/flag';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { Ruleset } from '../../src/flags/ruleset';
import { UsageRecorder } from '../../src/flags/usage';
import { atLeast, below, told } from '../lib/result';
import type { Figure } from '../lib/result';
import { percentile } from '../lib/statistics';
import { putFlag, quiet } from './flags';

const WARM_UP = 100_000;
const CALLS = 1_000_000;
const ROUNDS = 5;
const MANY_FLAGS = 10_000;
const LISTED_USERS = 1_000;

/** Checks a second on one core: the evaluation alone, and with the counting that the client does. */
export async function inProcess(): Promise<Figure[]> {
  const store = new MemoryFlagStore();
  await putFlag(store, {
    name: 'new-checkout',
    enabled: true,
    rollout_percentage: 25,
    whitelist: ['a'],
    blacklist: ['b'],
  });
  const ruleset = new Ruleset({ source: store, logger: quiet });
  await ruleset.start(1_000);
  const usage = new UsageRecorder({ store, logger: quiet });
  const checks = new FlagChecks(ruleset, usage);
  const flag = ruleset.flag('new-checkout');
  if (flag === undefined) throw new Error('the flag of the benchmark was not loaded');
  const users = Array.from({ length: 4096 }, (_, i) => `user-${i}`);
  const userAt = (i: number): string => users[i % users.length] as string;

  const evaluated: number[] = [];
  const checked: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    evaluated.push(perSecond((i) => evaluateFlag(flag, { userId: userAt(i), environment: 'production' })));
    checked.push(perSecond((i) => checks.check('new-checkout', { userId: userAt(i), environment: 'production' })));
  }
  await ruleset.stop();
  await usage.close();
  return [
    atLeast('check in the process, counted', percentile(checked, 50), 300_000, 'a second'),
    told('the same without the counting', percentile(evaluated, 50), 'a second'),
  ];
}

/** Resident memory that many flags with many listed users take, compiled as a process holds them. */
export function memory(): Figure[] {
  globalThis.gc?.();
  const before = process.memoryUsage().rss;
  const flags: CompiledFlag[] = [];
  for (let i = 0; i < MANY_FLAGS; i += 1) {
    // Ids as they come from a database, and as JSON brings them: each a text of its own.
    const whitelist = Array.from({ length: LISTED_USERS }, (_, j) => `user-${i}-${j}`);
    const created = newFlag(CreateFlag.parse({ name: `flag-${i}`, enabled: true, whitelist }), 'now');
    flags.push(compileFlag({ flag: created, revision: i + 1 }));
  }
  globalThis.gc?.();
  const grown = (process.memoryUsage().rss - before) / 2 ** 20;
  const listed = flags.every((flag, i) => flag.whitelist.has(`user-${i}-7`) && !flag.whitelist.has('user-x'));
  if (!listed) throw new Error('a flag of the benchmark lost its users');
  return [below(`memory for ${MANY_FLAGS} flags with ${LISTED_USERS} listed users each`, grown, 1024, 'MiB')];
}

/**
 * Calls of one loop in a second of the processor's time, warmed up: what else is at work counts for nothing but its
 * share of the caches. What the process's other threads do for it, as in collecting garbage, is in it.
 */
export function perSecond(call: (i: number) => unknown, calls = CALLS): number {
  for (let i = 0; i < WARM_UP; i += 1) call(i);
  const start = process.cpuUsage();
  for (let i = 0; i < calls; i += 1) call(i);
  const { user, system } = process.cpuUsage(start);
  return calls / ((user + system) / 1e6);
}
