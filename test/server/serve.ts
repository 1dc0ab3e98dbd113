import { createHash } from 'node:crypto';
import type { SluiceClient } from '../../src/client/client-types';
import type { AccessOptions } from '../../src/flags/access';
import { createReleaseService } from '../../src/server/release-service';
import type { ReleaseService } from '../../src/server/release-service';
import { checkAgainst } from '../flags/open-api';
import type { OpenApi } from '../flags/open-api';
import { startService, stopServers } from '../flags/serve';
import { recordingLogger, send } from '../flags/support';
import type { Reply } from '../flags/support';

const services: ReleaseService[] = [];

export const ADMIN = 'the-admin-key-of-these-tests';

/** Keys by their names, which are the keys themselves, too. */
export function keysOf(grants: Readonly<Record<string, readonly string[]>>, groups: readonly string[] = []) {
  const keys = Object.entries(grants).map(([id, given]) => ({
    id,
    sha256: createHash('sha256').update(id).digest('hex'),
    grants: [...given],
    groups: [...groups],
  }));
  return { adminKey: ADMIN, keys: { keys } } satisfies AccessOptions;
}

/** A server with releases of this client, whose every answer is held against its OpenAPI document. */
export async function serveReleases(client: SluiceClient | (() => Promise<SluiceClient>), access: AccessOptions = {}) {
  const logger = recordingLogger();
  const connect = typeof client === 'function' ? client : () => Promise.resolve(client);
  const service = createReleaseService({ connect, logger });
  services.push(service);
  const { url } = await startService({ access, logger, beside: service.beside });
  const admin = { 'x-api-key': ADMIN };
  const document = (await send(`${url}/api/openapi.json`, 'GET', { headers: admin })).body as OpenApi;
  const ask = async (
    method: string,
    path: string,
    { key, body, headers = {} }: { key?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<Reply> => {
    const who: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
    const reply = await send(`${url}${path}`, method, { body, headers: { ...who, ...headers } });
    checkAgainst(document, { method, path, reply });
    return reply;
  };
  return { url, ask, document, service, logger };
}

/** For `afterEach`. */
export async function stopReleaseServers(): Promise<void> {
  await stopServers();
  for (const service of services.splice(0)) await service.close();
}
