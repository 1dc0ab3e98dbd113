import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { messageOf, ReleaseError } from '../../errors';
import { KeyFile } from '../access';
import type { AccessOptions } from '../access';
import { EnvironmentName } from '../flag';
import type { FlagLogger } from '../logger';
import { MemoryFlagStore } from '../memory-store';
import { openRedisFlagStore } from '../redis-store';
import { openSqliteFlagStore } from '../sqlite-store';
import { StoreUnavailable } from '../store';
import type { FlagStore } from '../store';
import type { Beside } from './beside';
import { startFlagsServer } from './flags-server';
import type { FlagsServer } from './flags-server';
import type { DisabledBehavior } from './ofrep';

export const STORES = ['memory', 'sqlite', 'redis'] as const;
export type StoreKind = (typeof STORES)[number];

/** The flag service as a command line describes it; secrets come from the environment and from files. */
export interface FlagsServerChoice {
  readonly store: StoreKind;
  /** The file of `sqlite`; default flags.db among Sluice's state. */
  readonly file?: string;
  readonly port: number;
  readonly host?: string;
  readonly environment?: string;
  /** A file of keys, by their SHA-256. */
  readonly keys?: string;
  readonly jwksUrl?: string;
  readonly jwtIssuer?: string;
  readonly jwtAudience?: string;
  readonly corsOrigins?: readonly string[];
  readonly disabledBehavior?: DisabledBehavior;
  readonly requireIfMatch?: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly logger: FlagLogger;
  readonly version: string;
  /** Served by the same server. */
  readonly beside?: Beside;
}

const DEFAULT_REDIS = 'redis://127.0.0.1:6379';

/** Opens the store and starts the service over it. */
export async function openFlagsServer(choice: FlagsServerChoice): Promise<FlagsServer> {
  const access = accessOf(choice);
  if (choice.environment !== undefined && !EnvironmentName.safeParse(choice.environment).success) {
    throw new ReleaseError('usage', `--environment is ${JSON.stringify(choice.environment)}, which is no name.`, {
      hint: 'An environment has 1 to 64 letters, digits, ".", "_" and "-", such as production.',
    });
  }
  for (const origin of choice.corsOrigins ?? []) refuseOtherThanOrigin(origin);
  const { host, environment, corsOrigins, disabledBehavior, requireIfMatch, beside } = choice;
  return startFlagsServer({
    store: storeOf(choice),
    access,
    logger: choice.logger,
    port: choice.port,
    version: choice.version,
    ...(host === undefined ? {} : { host }),
    ...(environment === undefined ? {} : { environment }),
    ...(corsOrigins === undefined ? {} : { corsOrigins }),
    ...(disabledBehavior === undefined ? {} : { disabledBehavior }),
    ...(requireIfMatch === undefined ? {} : { requireIfMatch }),
    ...(beside === undefined ? {} : { beside }),
  });
}

/** One that is written otherwise than browsers send it would let no page ask, without a word. */
function refuseOtherThanOrigin(given: string): void {
  if (/^[a-z][a-z0-9+.-]*:\/\/[^/?#\s]+$/.test(given)) {
    const { protocol, origin } = URL.canParse(given) ? new URL(given) : { protocol: 'http:', origin: null };
    const isOfBrowsers = protocol === 'http:' || protocol === 'https:' ? origin === given : true;
    if (isOfBrowsers) return;
  }
  throw new ReleaseError('usage', `--cors-origin is ${JSON.stringify(given)}, which is no origin of a page.`, {
    hint: 'Write it as browsers send it: scheme and host in lower case, a port that is not the usual one, and no path, such as https://app.example.',
  });
}

function storeOf({ store, file, env, logger }: FlagsServerChoice): FlagStore {
  if (file !== undefined && store !== 'sqlite') {
    throw new ReleaseError('usage', `--file is the file of --store sqlite; the store is ${store}.`);
  }
  switch (store) {
    case 'memory':
      return new MemoryFlagStore();
    case 'sqlite':
      return openFile(file ?? defaultFile(env));
    case 'redis':
      return openRedis(env['SLUICE_REDIS_URL'] ?? DEFAULT_REDIS, logger);
    default:
      return store satisfies never;
  }
}

function openFile(path: string): FlagStore {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return openSqliteFlagStore({ path });
  } catch (error) {
    throw new ReleaseError(
      'usage',
      error instanceof StoreUnavailable ? error.message : `The flag store ${path} cannot be made: ${messageOf(error)}.`,
      { hint: 'Name another file with --file, in a folder that can be written to.', cause: error },
    );
  }
}

function openRedis(url: string, logger: FlagLogger): FlagStore {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol !== 'redis:' && parsed?.protocol !== 'rediss:') {
    throw new ReleaseError('usage', 'SLUICE_REDIS_URL is no address of a Redis.', {
      hint: 'Write redis://[user:password@]host:port/database, or rediss:// with TLS.',
    });
  }
  return openRedisFlagStore({ url, logger });
}

/** Beside the state of `sluice dev`. */
function defaultFile(env: NodeJS.ProcessEnv): string {
  const state = env['XDG_STATE_HOME'];
  return join(state === undefined || state === '' ? join(homedir(), '.local', 'state') : state, 'sluice', 'flags.db');
}

function accessOf({ keys, jwksUrl, jwtIssuer, jwtAudience, env }: FlagsServerChoice): AccessOptions {
  const adminKey = env['SLUICE_API_KEY'];
  const jwtParts = [jwksUrl, jwtIssuer, jwtAudience].filter((part) => part !== undefined);
  if (jwtParts.length > 0 && jwtParts.length < 3) {
    throw new ReleaseError('usage', 'Of --jwks-url, --jwt-issuer and --jwt-audience all three are needed.', {
      hint: 'A token is accepted only from that issuer and for that audience.',
    });
  }
  return {
    ...(adminKey === undefined || adminKey === '' ? {} : { adminKey }),
    ...(keys === undefined ? {} : { keys: readKeys(keys) }),
    ...(jwksUrl === undefined || jwtIssuer === undefined || jwtAudience === undefined
      ? {}
      : { jwt: { jwksUrl: checkedUrl(jwksUrl), issuer: jwtIssuer, audience: jwtAudience } }),
  };
}

function checkedUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol === 'https:' || parsed?.protocol === 'http:') return url;
  throw new ReleaseError('usage', `--jwks-url is ${JSON.stringify(url)}, which is no http(s) address.`);
}

function readKeys(path: string): KeyFile {
  const hint = 'Write {"keys": [{"id": "ci", "sha256": "<SHA-256 of the key>", "grants": ["write:production"]}]}.';
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ReleaseError('usage', `The keys in ${path} cannot be read: ${messageOf(error)}.`, { hint, cause: error });
  }
  const parsed = KeyFile.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ReleaseError('usage', `${path}: /${issue?.path.map(String).join('/') ?? ''}: ${issue?.message ?? ''}.`, {
    hint,
  });
}
