import { ReleaseError } from '../errors';
import { parseImage } from './image-reference';
import type { TargetPlan } from './plan-types';

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/** Throws a `ReleaseError` (`usage`) unless `version` is one that the target understands. */
export function checkVersion(version: string, target: TargetPlan['kind']): void {
  const shown = JSON.stringify(version.length > 80 ? `${version.slice(0, 77)}...` : version);
  if (target === 'kubernetes') {
    const reason = whyNoImage(version);
    if (reason === null) return;
    throw new ReleaseError('usage', `A release to Kubernetes is of an image, and ${shown} ${reason}.`, {
      hint: 'Allowed: an image with a tag or a digest, such as ghcr.io/acme/checkout:1.4.2 or ghcr.io/acme/checkout@sha256:<64 hex digits>.',
    });
  }
  if (NAME.test(version)) return;
  throw new ReleaseError('usage', `The version ${shown} is not a version's name.`, {
    hint: 'Allowed: letters, digits, ".", "_" and "-", at most 128, beginning with a letter or digit, such as v2 or 1.4.2.',
  });
}

/** Why a text is no image reference that can be released; null when it is one. */
function whyNoImage(image: string): string | null {
  const parsed = parseImage(image);
  if (parsed.kind === 'refused') return parsed.reason;
  return parsed.tag === null && parsed.digest === null ? 'names neither a tag nor a digest' : null;
}
