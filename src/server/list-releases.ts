import type { z } from 'zod';
import type { ReleaseSummary, SluiceClient } from '../client/client-types';
import type { Principal } from '../flags/access';
import { readableNamespaces, requireReleaseRole } from './release-access';
import type { ListQuery } from './schemas';

export interface ReleaseList {
  readonly apiVersion: 'sluice.dev/v1';
  readonly kind: 'ReleaseList';
  readonly items: readonly ReleaseSummary[];
  readonly more: boolean;
}

/** The newest releases of the namespaces that a key may look at, or of the one that is asked for. */
export async function listReleases(
  client: SluiceClient,
  principal: Principal,
  { namespace, service, open, limit }: z.output<typeof ListQuery>,
): Promise<ReleaseList> {
  if (namespace !== undefined) requireReleaseRole(principal, 'read', namespace);
  const namespaces = namespace === undefined ? readableNamespaces(principal) : [namespace];
  const narrowed = {
    // One more, to know whether there are more.
    limit: limit + 1,
    ...(service === undefined ? {} : { service }),
    ...(open === 'true' ? { open: true } : {}),
  };
  const lists = await Promise.all(
    namespaces === null
      ? [client.list(narrowed)]
      : namespaces.map((one) => client.list({ ...narrowed, namespace: one })),
  );
  const found = lists.flat().sort((a, b) => b.startedAt - a.startedAt);
  return {
    apiVersion: 'sluice.dev/v1',
    kind: 'ReleaseList',
    items: found.slice(0, limit),
    more: found.length > limit,
  };
}
