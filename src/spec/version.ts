import { ReleaseError } from '../errors';
import type { TargetPlan } from './plan-types';

/**
 * Image references as the registries' grammar has them (distribution/reference): `[host[:port]/]path[:tag][@digest]`,
 * lower-case path, at most 255 characters before tag and digest.
 */
const HOST =
  /^(localhost|[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(:\d{1,5})?$/;
const PATH_COMPONENT = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[a-f0-9]{64}$/;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Throws a `ReleaseError` (`usage`) unless `version` is one that the target understands. */
export function checkVersion(version: string, target: TargetPlan['kind']): void {
  const shown = JSON.stringify(version.length > 80 ? `${version.slice(0, 77)}...` : version);
  if (target === 'kubernetes') {
    const reason = whyNoImage(version);
    if (reason === null) return;
    throw new ReleaseError('usage', `The image ${shown} ${reason}.`, {
      hint: 'Allowed: an image with a tag or a digest, such as ghcr.io/acme/checkout:1.4.2 or ghcr.io/acme/checkout@sha256:<64 hex digits>.',
    });
  }
  if (NAME.test(version)) return;
  throw new ReleaseError('usage', `The version ${shown} is not a version's name.`, {
    hint: 'Allowed: letters, digits, ".", "_" and "-", at most 128, beginning with a letter or digit, such as v2 or 1.4.2.',
  });
}

/** Why a text is no image reference that can be released; null when it is one. */
export function whyNoImage(image: string): string | null {
  const [named = '', digest, ...more] = image.split('@');
  if (more.length > 0) return 'has more than one "@"';
  if (digest !== undefined && !DIGEST.test(digest))
    return 'has a digest that is not sha256: and 64 lower-case hex digits';
  const colon = named.lastIndexOf(':');
  const hasTag = colon > named.lastIndexOf('/');
  const name = hasTag ? named.slice(0, colon) : named;
  if (hasTag && !TAG.test(named.slice(colon + 1))) return 'has a tag that is not allowed';
  if (name.length > 255) return 'has a name of more than 255 characters';
  const parts = name.split('/');
  const first = parts[0] ?? '';
  const hasHost = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  if (hasHost && !HOST.test(first)) return 'has a registry host that is not allowed';
  const path = hasHost ? parts.slice(1) : parts;
  if (!path.every((component) => PATH_COMPONENT.test(component))) return 'is not an image reference';
  return hasTag || digest !== undefined ? null : 'names neither a tag nor a digest';
}
