import type { FlagServiceClient, FlagServiceError } from '../flags/client/flag-service-client';
import { flagServiceOf } from '../flags/client/service-of';
import type { FlagServiceNames } from '../flags/client/service-of';
import { FLAGS_TOKEN_ENV, FLAGS_URL, FLAGS_URL_ENV } from '../spec/defaults';
import { ReleaseError } from '../errors';
import type { Cli } from './cli';
import { lazy } from './lazy';

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
  const named = flagServiceOf(env, names);
  if ('wrong' in named) {
    throw new ReleaseError('usage', `${names.urlEnv} is ${JSON.stringify(named.wrong)}, which is no address.`, {
      hint: `Set it to the flag service's address, such as ${FLAGS_URL}.`,
    });
  }
  // The key that a service on this machine was started with does, too.
  const apiKey = named.apiKey ?? (env['SLUICE_API_KEY']?.trim() || undefined);
  const { FlagServiceClient: Client, FlagServiceError: Refusal } = lazy.flagService();
  try {
    return await ask(new Client({ url: named.url, ...(apiKey === undefined ? {} : { apiKey }) }));
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
