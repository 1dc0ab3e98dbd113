import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';

type Find = (options: {
  readonly cacheDir: string;
  readonly onProgress: (line: string) => void;
}) => Promise<{ readonly path: string } | { readonly reason: string }>;

/**
 * The executable of a PostgreSQL, found or fetched.
 *
 * @throws Error with why there is none
 */
export function findPostgres(onProgress: (line: string) => void): Promise<string> {
  const { findPostgres: find } = scriptOf('find-postgres.cjs') as { readonly findPostgres: Find };
  return pathOf('PostgreSQL', find, onProgress);
}

/** The same of a Redis server. */
export function findRedis(onProgress: (line: string) => void): Promise<string> {
  const { findRedis: find } = scriptOf('find-redis.cjs') as { readonly findRedis: Find };
  return pathOf('Redis', find, onProgress);
}

async function pathOf(title: string, find: Find, onProgress: (line: string) => void): Promise<string> {
  const found = await find({ cacheDir: cacheDirectory(), onProgress });
  if ('reason' in found) throw new Error(`there is no ${title}: ${found.reason}`);
  return found.path;
}

/** One of the project's scripts, from the built benchmark: those are not compiled with it. */
function scriptOf(name: string): unknown {
  // .sluice/bench/bench/flags
  return createRequire(__filename)(join(__dirname, '..', '..', '..', '..', 'scripts', 'lib', name));
}
