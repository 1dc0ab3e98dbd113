/**
 * Image references as the registries' grammar has them (distribution/reference): `[host[:port]/]path[:tag][@digest]`,
 * lower-case path, at most 255 characters before tag and digest.
 */
const HOST =
  /^(localhost|[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(:\d{1,5})?$/;
const PATH_COMPONENT = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[a-f0-9]{64}$/;

/** The parts of an image reference, each as it is written; null for what is left out. */
export interface ImageReference {
  readonly kind: 'image';
  /** All before tag and digest. */
  readonly name: string;
  /** `ghcr.io`, `localhost:5000`. */
  readonly host: string | null;
  readonly path: string;
  readonly tag: string | null;
  /** `sha256:` and 64 hex digits. */
  readonly digest: string | null;
}

/** Why a text is no image reference, as the end of a sentence: `has more than one "@"`. */
export interface ImageRefusal {
  readonly kind: 'refused';
  readonly reason: string;
}

export function parseImage(image: string): ImageReference | ImageRefusal {
  const [named = '', digest = null, ...more] = image.split('@');
  if (more.length > 0) return refused('has more than one "@"');
  if (digest !== null && !DIGEST.test(digest)) {
    return refused('has a digest that is not sha256: and 64 lower-case hex digits');
  }
  const colon = named.lastIndexOf(':');
  const tag = colon > named.lastIndexOf('/') ? named.slice(colon + 1) : null;
  const name = tag === null ? named : named.slice(0, colon);
  if (tag !== null && !TAG.test(tag)) return refused('has a tag that is not allowed');
  if (name.length > 255) return refused('has a name of more than 255 characters');
  const parts = name.split('/');
  const first = parts[0] ?? '';
  const hasHost = parts.length > 1 && (/[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  // What no address can be made of (a port beyond 65535) is no host either.
  if (hasHost && !(HOST.test(first) && URL.canParse(`https://${first}`))) {
    return refused('has a registry host that is not allowed');
  }
  const path = hasHost ? parts.slice(1) : parts;
  if (!path.every((component) => PATH_COMPONENT.test(component))) {
    const capitals = path.some((component) => PATH_COMPONENT.test(component.toLowerCase()) && /[A-Z]/.test(component));
    return refused(
      `is not an image reference${capitals ? ': its name has capital letters, and small ones alone are allowed' : ''}`,
    );
  }
  return { kind: 'image', name, host: hasHost ? first : null, path: path.join('/'), tag, digest };
}

/** The same bytes from the same place: by digest where both have one, whatever their tags; else letter by letter. */
export function isSameImage(one: string, other: string): boolean {
  const [first, second] = [parseImage(one), parseImage(other)];
  if (first.kind === 'refused' || second.kind === 'refused' || first.digest === null) return one === other;
  return first.name === second.name && first.digest === second.digest;
}

function refused(reason: string): ImageRefusal {
  return { kind: 'refused', reason };
}
