import path from 'node:path';
import { messageOf, ReleaseError } from '../errors';
import type { Environment } from './cache-directory';
import { withCacheLock } from './cache-lock';

/** One way to get a server into the cache. */
export interface Source {
  readonly origin: 'download' | 'build';
  /** For sentences: `the download`, `Maven`. */
  readonly name: string;
  readonly allowed: boolean;
  /** The executable it makes. */
  readonly target: string;
  /** Makes it; throws with the reason as its message. */
  get(target: string, env: Environment, onProgress: (line: string) => void): Promise<void>;
}

export interface ObtainOptions<T> {
  /** For sentences: `Temporal's test server`. */
  readonly what: string;
  /** The folder of this server in the cache. */
  readonly cache: string;
  readonly env: Environment;
  readonly onProgress: (line: string) => void;
  /** What was looked for before this, as clauses. */
  readonly tried: readonly string[];
  /** In the order they are tried. */
  readonly sources: readonly Source[];
  /** The way out when there is none. */
  readonly hint: string;
  fromCache(): Promise<T | undefined>;
  /** What a source has made; undefined when it does not run here. */
  made(source: Source): Promise<T | undefined>;
}

/**
 * Takes a server from the cache, or gets it there from the first source that can, one process at a time.
 *
 * @throws ReleaseError `unsupported`, in one sentence that lists what was tried
 */
export async function obtainServer<T>(options: ObtainOptions<T>): Promise<T> {
  const { what, cache, env, onProgress, sources, fromCache } = options;
  const cached = await fromCache();
  if (cached !== undefined) return cached;
  const tried = [...options.tried, 'none is in the cache'];
  const wait = (holder: number): void => onProgress(`waiting for process ${holder}, which fetches ${what}`);
  return withCacheLock(path.join(cache, '.lock'), wait, async () => {
    const meanwhile = await fromCache();
    if (meanwhile !== undefined) return meanwhile;
    for (const source of sources) {
      if (!source.allowed) {
        tried.push(`the ${source.origin} was not allowed`);
        continue;
      }
      try {
        await source.get(source.target, env, onProgress);
        const made = await options.made(source);
        if (made !== undefined) return made;
        tried.push(`what ${source.name} gave does not run on this machine`);
      } catch (error) {
        tried.push(`${source.name}: ${messageOf(error)}`);
        onProgress(`${what} could not be had by ${source.name} (${messageOf(error)})`);
      }
    }
    throw new ReleaseError('unsupported', `${what} cannot be had: ${tried.join('; ')}.`, { hint: options.hint });
  });
}
