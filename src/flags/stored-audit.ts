import { z } from 'zod';
import { AUDIT_ACTIONS } from './store';

/** An audit entry as stores keep it, without what the store itself adds. */
export const StoredAudit = z.object({
  at: z.string(),
  actor: z.string(),
  action: z.enum(AUDIT_ACTIONS),
  flag: z.string(),
  changes: z.record(z.string(), z.unknown()),
  request_id: z.string().nullable(),
});
