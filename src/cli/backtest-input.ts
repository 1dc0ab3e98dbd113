import { readFile, stat } from 'node:fs/promises';
import { messageOf, ReleaseError } from '../errors';
import type { Injection } from '../backtest/pretend-canary';
import { safeText } from './display-width';
import { parseTime, TIMES } from './time-argument';

const LARGEST_RISE = 1_000;

/**
 * `5x@25%`: five times the errors from 25 % on; `5x`: from the first weight on; `0.5x`: half of them. Throws `usage` for
 * anything else.
 */
export function parseInjection(text: string, weights: readonly number[]): Injection {
  const match = /^(\d{1,4}(?:\.\d{1,3})?)x(?:@(\d{1,3})%?)?$/u.exec(text.trim());
  const times = Number(match?.[1] ?? Number.NaN);
  const fromWeight = match?.[2] === undefined ? Math.min(...weights) : Number(match[2]);
  if (!(times !== 1 && times <= LARGEST_RISE && fromWeight >= 1 && fromWeight <= 100)) {
    throw new ReleaseError('usage', `--inject is ${JSON.stringify(text)}, which is no change of the errors.`, {
      hint: `Write how many times the errors, from 0 to ${LARGEST_RISE} but not 1, and from which weight on: 5x@25%, 10x, 0.5x.`,
    });
  }
  return { times, fromWeight };
}

/** A deploy to be looked at again. */
export interface PastDeploy {
  /** Epoch milliseconds. */
  readonly at: number;
  /** What was deployed over what; null where it is not said. */
  readonly versions: { readonly canary: string; readonly stable: string } | null;
}

const LARGEST_FILE = 1024 * 1024;
const MOST_DEPLOYS = 1_000;
const FILE_HINT =
  'Name a file with a deploy on each line, its time and, where the queries name versions, the new and the old one: 2026-11-20T14:00Z 1.4.2 1.4.1; or give the times themselves, with commas between them.';

/** The deploys of `--deploys`: times with commas between them, or a file. Throws `usage`, with the line. */
export async function readDeploys(argument: string, now: number): Promise<readonly PastDeploy[]> {
  const times = argument.split(',').map((part) => parseTime(part, now));
  if (times.every((at) => at !== null))
    return checked(
      times.map((at) => ({ at, versions: null })),
      argument,
    );
  const shown = safeText(argument);
  let text: string;
  try {
    if ((await stat(argument)).size > LARGEST_FILE) {
      throw new ReleaseError('usage', `${shown} is larger than 1 MiB.`, { hint: FILE_HINT });
    }
    text = await readFile(argument, 'utf8');
  } catch (error) {
    if (error instanceof ReleaseError) throw error;
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const why = missing
      ? 'is neither a list of times nor a file that is there'
      : `cannot be read (${messageOf(error)})`;
    throw new ReleaseError('usage', `--deploys ${shown} ${why}.`, { hint: `${TIMES} ${FILE_HINT}`, cause: error });
  }
  const deploys = text.split(/\r?\n/u).flatMap((line, index): PastDeploy[] => {
    const words = line.replace(/#.*$/u, '').trim();
    if (words === '') return [];
    const [time = '', canary, stable, ...more] = words.split(/\s+/u);
    const at = parseTime(time, now);
    if (at === null) {
      throw new ReleaseError('usage', `${shown}:${index + 1}: ${JSON.stringify(safeText(time))} is no time.`, {
        hint: TIMES,
      });
    }
    if (more.length > 0 || (canary !== undefined && stable === undefined)) {
      throw new ReleaseError('usage', `${shown}:${index + 1}: after the time come both versions or none.`, {
        hint: FILE_HINT,
      });
    }
    return [{ at, versions: canary === undefined || stable === undefined ? null : { canary, stable } }];
  });
  return checked(deploys, shown);
}

function checked(deploys: readonly PastDeploy[], shown: string): readonly PastDeploy[] {
  if (deploys.length === 0) throw new ReleaseError('usage', `${shown} names no deploy.`, { hint: FILE_HINT });
  if (deploys.length <= MOST_DEPLOYS) return deploys.toSorted((one, other) => one.at - other.at);
  throw new ReleaseError(
    'usage',
    `${shown} names ${deploys.length} deploys, and ${MOST_DEPLOYS} are looked at at most.`,
    {
      hint: 'Leave the older ones out.',
    },
  );
}
