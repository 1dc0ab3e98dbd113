import { CreateFlag, newFlag } from '../../src/flags/flag';
import type { FlagLogger } from '../../src/flags/logger';
import type { FlagStore } from '../../src/flags/store';

export const quiet: FlagLogger = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Writes a flag straight into a store, over whatever is there of its name. */
export async function putFlag(store: FlagStore, given: Record<string, unknown> & { name: string }): Promise<void> {
  const held = await store.get(given.name);
  const now = new Date().toISOString();
  const audit = {
    at: now,
    actor: 'bench',
    action: 'updated',
    flag: given.name,
    changes: {},
    request_id: null,
  } as const;
  const next = newFlag(CreateFlag.parse(given), now);
  await store.write({ name: given.name, expected: held?.revision ?? null, next, audit, idempotency: null });
}
