import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { TargetFailure } from '../target';

/** User and password for a registry. */
export interface RegistryLogin {
  readonly user: string;
  readonly password: string;
}

/** The worker's environment variables that say where logins are. */
export const REGISTRY_CONFIG_ENV = 'SLUICE_REGISTRY_CONFIG';
const DOCKER_CONFIG_ENV = 'DOCKER_CONFIG';

const Entry = z.object({
  auth: z.string().optional(),
  username: z.string().optional(),
  password: z.string().optional(),
});
const DockerConfig = z.object({ auths: z.record(z.string(), Entry).optional() });

/** Docker writes its own registry under this name. */
const DOCKER_HUB_ENTRY = 'index.docker.io';

/**
 * The login for a repository (`ghcr.io/acme/checkout`), by the longest entry that it begins with, as the kubelet chooses
 * among pull secrets. Read from the file that `SLUICE_REGISTRY_CONFIG` names, else from config.json in the folder that
 * `DOCKER_CONFIG` names. Null where there is none: then the registry is asked without a login.
 *
 * @throws TargetFailure `invalidTarget` for a file that cannot be read. Its content is never repeated.
 */
export async function registryLogin(
  env: Readonly<Record<string, string | undefined>>,
  repository: string,
): Promise<RegistryLogin | null> {
  const config = await readConfig(env);
  if (config === null) return null;
  let best: { readonly name: string; readonly entry: z.infer<typeof Entry> } | null = null;
  for (const [key, entry] of Object.entries(config.auths)) {
    const name = entryName(key);
    const fits = repository === name || repository.startsWith(`${name}/`);
    if (fits && (best === null || name.length > best.name.length)) best = { name, entry };
  }
  if (best === null) return null;
  const login = loginOf(best.entry);
  if (login !== null) return login;
  throw new TargetFailure(
    'invalidTarget',
    `The entry ${best.name} in ${config.shown} holds no user and password; allowed are \`auth\` or \`username\` and \`password\`, credential helpers are not asked.`,
  );
}

async function readConfig(
  env: Readonly<Record<string, string | undefined>>,
): Promise<{ readonly shown: string; readonly auths: Readonly<Record<string, z.infer<typeof Entry>>> } | null> {
  const named = env[REGISTRY_CONFIG_ENV] ?? '';
  const folder = env[DOCKER_CONFIG_ENV] ?? '';
  if (named === '' && folder === '') return null;
  const path = named === '' ? join(folder, 'config.json') : named;
  const shown = `the file that ${named === '' ? DOCKER_CONFIG_ENV : REGISTRY_CONFIG_ENV} names`;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    // Docker's own folder may well be there without logins; a file that is named for them may not.
    if (named === '' && isMissing(error)) return null;
    throw new TargetFailure('invalidTarget', `The worker cannot read ${shown} (${path}).`, { cause: error });
  }
  const parsed = DockerConfig.safeParse(parseJson(text));
  if (parsed.success) return { shown, auths: parsed.data.auths ?? {} };
  throw new TargetFailure('invalidTarget', `${shown.replace('the', 'The')} (${path}) is not a docker config.json.`);
}

/** `https://ghcr.io/v1/` is ghcr.io, and Docker's registry has a name of its own. */
function entryName(key: string): string {
  const name = key.replace(/^https?:\/\//, '').replace(/(\/v[12])?\/*$/, '');
  return name === DOCKER_HUB_ENTRY ? 'docker.io' : name;
}

function loginOf({ auth, username, password }: z.infer<typeof Entry>): RegistryLogin | null {
  if (username !== undefined && password !== undefined) return { user: username, password };
  const decoded = Buffer.from(auth ?? '', 'base64').toString('utf8');
  const colon = decoded.indexOf(':');
  if (colon < 1) return null;
  // Docker pads the text with zero bytes at times.
  return { user: decoded.slice(0, colon), password: decoded.slice(colon + 1).replace(/\0+$/, '') };
}

function isMissing(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // refused by the schema
  }
}
