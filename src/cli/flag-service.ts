import type { FlagServiceClient, FlagServiceError } from '../flags/client/flag-service-client';
import { FLAGS_TOKEN_ENV, FLAGS_URL, FLAGS_URL_ENV } from '../spec/defaults';
import { ReleaseError } from '../errors';
import type { Cli } from './cli';
import { lazy } from './lazy';

/** The environment variables with the flag service's address and key. */
export interface FlagServiceNames {
  readonly urlEnv: string;
  readonly tokenEnv: string;
}

const USUAL: FlagServiceNames = { urlEnv: FLAGS_URL_ENV, tokenEnv: FLAGS_TOKEN_ENV };

/**
 * With the flag service that the environment names, else the one of this machine.
 *
 * @throws ReleaseError for what it refuses, in its own words, and when it does not answer.
 */
export async function askFlagService<T>(
  env: Cli['env'],
  ask: (service: FlagServiceClient) => Promise<T>,
  names: FlagServiceNames = USUAL,
): Promise<T> {
  const url = env[names.urlEnv]?.trim() || FLAGS_URL;
  if (!/^https?:\/\/[^/]/u.test(url) || !URL.canParse(url)) {
    throw new ReleaseError('usage', `${names.urlEnv} is ${JSON.stringify(url)}, which is no address.`, {
      hint: `Set it to the flag service's address, such as ${FLAGS_URL}.`,
    });
  }
  const apiKey = env[names.tokenEnv]?.trim() || env['SLUICE_API_KEY']?.trim() || null;
  const { FlagServiceClient: Client, FlagServiceError: Refusal } = lazy.flagService();
  try {
    return await ask(new Client({ url, ...(apiKey === null ? {} : { apiKey }) }));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw toReleaseError(error, names);
  }
}

function toReleaseError(error: FlagServiceError, { urlEnv, tokenEnv }: FlagServiceNames): ReleaseError {
  const { status, message } = error;
  if (status === null) {
    return new ReleaseError('unreachable', message, {
      hint: `Start one with sluice flags-server, or let ${urlEnv} name where it is.`,
      cause: error,
    });
  }
  if (status === 401 || status === 403) {
    return new ReleaseError('forbidden', message, { hint: `${tokenEnv} holds the key.`, cause: error });
  }
  if (status === 404) return new ReleaseError('not-found', message, { hint: 'See sluice flag list.', cause: error });
  if (status === 409 || status === 412) return new ReleaseError('conflict', message, { cause: error });
  return new ReleaseError(status >= 500 ? 'unreachable' : 'usage', message, { cause: error });
}
