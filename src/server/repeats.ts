import { hash } from 'node:crypto';
import type { Asked } from '../flags/server/endpoint';

/** The same for the same request of the same caller with the same Idempotency-Key; null without one. */
export function repeatKeyOf({ principal, write }: Pick<Asked<unknown, unknown>, 'principal' | 'write'>): string | null {
  const { idempotencyKey, request } = write();
  if (idempotencyKey === null) return null;
  return `server:${hash('sha256', JSON.stringify([principal.id, idempotencyKey, request]))}`;
}
