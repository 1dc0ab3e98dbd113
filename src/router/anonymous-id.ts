import { randomBytes } from 'node:crypto';

/** The cookie that holds a random id for clients known by nothing else. It names no cohort. */
export interface AnonymousIdOptions {
  /** Cookie name; default `__Host-sluice_id`, or `sluice_id` when `secure` is false (browsers require it so). */
  readonly name?: string;
  /** Sets `Secure`; default true. Set false only for plain http, where browsers drop secure cookies. */
  readonly secure?: boolean;
  /** Lifetime in days, 1 to 400; default 400. */
  readonly maxAgeDays?: number;
}

/** Reads and issues anonymous ids. */
export interface AnonymousId {
  /** The id in a `Cookie` header; null when there is none of the right form. */
  read(cookieHeader: string | undefined): string | null;
  /** A new id and the `Set-Cookie` value that keeps it. */
  issue(): { readonly id: string; readonly setCookie: string };
}

/** 128 bits in base64url. */
const ID_FORM = /^[A-Za-z0-9_-]{22}$/;
const ID_BYTES = 16;
/** Longer than any browser sends; beyond it the header is not searched. */
const MAX_COOKIE_HEADER = 16 * 1024;

/** Builds the reader and issuer of anonymous ids from complete options. */
export function anonymousId(options: Required<AnonymousIdOptions>): AnonymousId {
  const attributes = [
    'Path=/',
    `Max-Age=${Math.floor(options.maxAgeDays * 86_400)}`,
    'HttpOnly',
    'SameSite=Lax',
    ...(options.secure ? ['Secure'] : []),
  ].join('; ');
  return {
    read: (cookieHeader) => readCookie(cookieHeader, options.name),
    issue: () => {
      const id = randomBytes(ID_BYTES).toString('base64url');
      return { id, setCookie: `${options.name}=${id}; ${attributes}` };
    },
  };
}

function readCookie(header: string | undefined, name: string): string | null {
  if (header === undefined || header.length > MAX_COOKIE_HEADER) return null;
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=');
    if (equals < 0 || pair.slice(0, equals).trim() !== name) continue;
    const value = pair.slice(equals + 1).trim();
    if (ID_FORM.test(value)) return value;
  }
  return null;
}
