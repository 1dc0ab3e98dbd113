import { homedir } from 'node:os';
import path from 'node:path';

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The folder in which Sluice keeps what it fetched or built once for all checkouts of a user: `SLUICE_CACHE`, else
 * `sluice` in `XDG_CACHE_HOME`, else `~/.cache/sluice`. `scripts/lib/setup.sh` follows the same rule.
 */
export function cacheDirectory(env: Environment = process.env): string {
  if (env['SLUICE_CACHE']) return path.resolve(env['SLUICE_CACHE']);
  return path.join(env['XDG_CACHE_HOME'] || path.join(env['HOME'] || homedir(), '.cache'), 'sluice');
}
