import { userInfo } from 'node:os';
import type { Actor } from '../workflows/api';
import { ReleaseError } from '../errors';

/** CI systems' variables with the person or job behind a run, the most telling first. */
const CI_NAMES = [
  'GITHUB_ACTOR',
  'GITLAB_USER_LOGIN',
  'BITBUCKET_STEP_TRIGGERER_UUID',
  'BUILD_USER_ID',
  'CIRCLE_USERNAME',
];

/**
 * Who the release's story names: `--as`, SLUICE_ACTOR, the CI's user, the system's user. A convenience and not a
 * proof of identity: who may reach Temporal may claim any name.
 */
export function whoAmI(env: NodeJS.ProcessEnv, as?: string): Actor {
  const ci = isTrue(env['CI']) || isTrue(env['GITHUB_ACTIONS']) || isTrue(env['GITLAB_CI']);
  const name = [as, env['SLUICE_ACTOR'], ...(ci ? CI_NAMES.map((variable) => env[variable]) : []), systemUser(env)]
    .map((candidate) => candidate?.trim() ?? '')
    .find((candidate) => candidate !== '');
  if (name === undefined) {
    throw new ReleaseError('usage', 'It is not known who you are, and the release records who did what.', {
      hint: 'Say it with --as NAME or SLUICE_ACTOR.',
    });
  }
  const groups = (env['SLUICE_GROUPS'] ?? '')
    .split(',')
    .map((group) => group.trim())
    .filter((group) => group !== '');
  return { name, via: ci ? 'ci' : 'cli', ...(groups.length > 0 ? { groups } : {}) };
}

function systemUser(env: NodeJS.ProcessEnv): string | undefined {
  try {
    return userInfo().username;
  } catch {
    // A container may run as a user without an entry in the password file.
    return env['USER'] ?? env['LOGNAME'];
  }
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && value !== '' && value !== 'false' && value !== '0';
}
