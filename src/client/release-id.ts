import { randomBytes } from 'node:crypto';

/** A release's id: the service, the start to the second (UTC) and four random hex digits; sorts by start. */
export function newReleaseId(service: string, at: Date = new Date()): string {
  const stamp = at.toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  return `${service}-${stamp}-${randomBytes(2).toString('hex')}`;
}
