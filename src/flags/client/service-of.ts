import { FLAGS_URL } from '../../spec/defaults';
import type { FlagServiceClientOptions } from './flag-service-client';

/** The environment variables with a flag service's address and an API key of it. */
export interface FlagServiceNames {
  readonly urlEnv: string;
  readonly tokenEnv: string;
}

/**
 * The flag service that an environment names, else the one of this machine, without a key where none is set. `wrong` is the
 * text of an address that is none.
 */
export function flagServiceOf(
  env: Readonly<Record<string, string | undefined>>,
  { urlEnv, tokenEnv }: FlagServiceNames,
): Pick<FlagServiceClientOptions, 'url' | 'apiKey'> | { readonly wrong: string } {
  const url = env[urlEnv]?.trim() || FLAGS_URL;
  if (!/^https?:\/\/[^/]/u.test(url) || !URL.canParse(url)) return { wrong: url };
  const apiKey = env[tokenEnv]?.trim() ?? '';
  return { url, ...(apiKey === '' ? {} : { apiKey }) };
}
