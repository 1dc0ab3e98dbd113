import { sha256First48 } from '../sha256';
import type { Cohort } from './protocol';

/** Whom a request belongs to. `key` is what is hashed; a signed override names the cohort itself. */
export type Subject =
  | { readonly kind: 'user' | 'address' | 'anonymous'; readonly key: string }
  | { readonly kind: 'override'; readonly cohort: Cohort }
  | { readonly kind: 'none' };

/** What a decision depends on besides the subject. */
export interface DecisionSnapshot {
  /** Switched on by configuration; when false everyone is stable, overrides included. */
  readonly enabled: boolean;
  /** A canary is declared, `enabled` holds and nothing has tripped. */
  readonly active: boolean;
  readonly stableVersion: string;
  readonly canaryVersion: string | null;
  /** Percent of subjects the canary gets, 0 to 100. */
  readonly weight: number;
  readonly salt: string | null;
}

/** Why a request went where it went. */
export type DecisionReason =
  /** The subject's bucket was compared with the weight. */
  | 'bucket'
  /** A signed override. */
  | 'override'
  /** No canary is declared. */
  | 'no-canary'
  /** Routing is switched off. */
  | 'disabled'
  /** The canary was taken to 0 by the guard or by hand. */
  | 'tripped'
  /** The weight is 0, so no subject was looked at. */
  | 'weight-0'
  /** Nothing identifies the client. */
  | 'no-subject';

/** Where a request goes. */
export interface Decision {
  readonly cohort: Cohort;
  readonly version: string;
  /** The subject's bucket in [0, 100); null when none was computed. */
  readonly bucket: number | null;
  readonly reason: DecisionReason;
}

const BUCKET_RANGE = 2 ** 48;

/** Of the salt before, which is that of the release that runs. */
let held = { salt: '', prefix: prefixOf('') };

/**
 * The bucket of a subject: the first 48 bits of SHA-256 over `release:<salt>:<key>` (UTF-8), scaled to [0, 100).
 *
 * 48 bits make steps of 3.6e-13 percent, so any fractional weight is met; the product below rounds, but never up
 * to 100, because doubles near 100 lie closer together than the steps.
 */
export function bucketOf(salt: string, key: string): number {
  if (salt !== held.salt) held = { salt, prefix: prefixOf(salt) };
  return (sha256First48(held.prefix, key) * 100) / BUCKET_RANGE;
}

function prefixOf(salt: string): string {
  return `release:${salt}:`;
}

/**
 * Decides the cohort of one request. Pure: the same snapshot and subject always give the same answer.
 *
 * The canary is chosen exactly when the bucket is below the weight. The bucket does not depend on the weight, so a
 * subject that is in the canary stays there while the weight grows.
 */
export function decide(snapshot: DecisionSnapshot, subject: Subject): Decision {
  const { canaryVersion } = snapshot;
  if (!snapshot.enabled) return stable(snapshot, 'disabled');
  if (canaryVersion === null || snapshot.salt === null) return stable(snapshot, 'no-canary');
  if (subject.kind === 'override') {
    if (subject.cohort === 'stable') return stable(snapshot, 'override');
    return { cohort: 'canary', version: canaryVersion, bucket: null, reason: 'override' };
  }
  if (!snapshot.active) return stable(snapshot, 'tripped');
  if (snapshot.weight <= 0) return stable(snapshot, 'weight-0');
  if (subject.kind === 'none') return stable(snapshot, 'no-subject');
  const bucket = bucketOf(snapshot.salt, subject.key);
  if (bucket < snapshot.weight) return { cohort: 'canary', version: canaryVersion, bucket, reason: 'bucket' };
  return { cohort: 'stable', version: snapshot.stableVersion, bucket, reason: 'bucket' };
}

function stable(snapshot: DecisionSnapshot, reason: DecisionReason): Decision {
  return { cohort: 'stable', version: snapshot.stableVersion, bucket: null, reason };
}
