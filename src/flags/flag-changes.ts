import type { FlagDocument } from './flag';

/** Users named in one audit entry; of more, only the count is kept. */
const MAX_NAMED = 100;

/** What differs between two states of a flag, for the audit: values before and after, lists by what came and went. */
export function flagChanges(before: FlagDocument | null, after: FlagDocument | null): Record<string, unknown> {
  const changes: Record<string, unknown> = {};
  const fields = Object.keys(after ?? before ?? {}) as (keyof FlagDocument)[];
  for (const field of fields) {
    if (field === 'updated_at' || field === 'created_at' || field === 'name') continue;
    const [from, to] = [before?.[field] ?? null, after?.[field] ?? null];
    if (JSON.stringify(from) === JSON.stringify(to)) continue;
    changes[field] = field === 'whitelist' || field === 'blacklist' ? listChange(before, after, field) : { from, to };
  }
  return changes;
}

function listChange(
  before: FlagDocument | null,
  after: FlagDocument | null,
  field: 'whitelist' | 'blacklist',
): Record<string, unknown> {
  const old = new Set(before?.[field]);
  const now = new Set(after?.[field]);
  const added = [...now].filter((user) => !old.has(user));
  const removed = [...old].filter((user) => !now.has(user));
  return { added: added.slice(0, MAX_NAMED), removed: removed.slice(0, MAX_NAMED), count: now.size };
}
