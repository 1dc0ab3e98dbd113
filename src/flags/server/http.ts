import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import { messageOf } from '../../errors';
import type { Access } from '../access';
import { FlagDefaults } from '../defaults';
import { FlagProblem, Problem, problemDocument } from '../problem';
import type { ProblemField } from '../problem';
import { ForeignCursor, StoreUnavailable } from '../store';
import type { Answer } from './endpoint';

export const JSON_TYPE = 'application/json; charset=utf-8';
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** A body's value; an empty one has none. */
export function parseJsonBody(text: string): unknown {
  if (text === '') return undefined;
  const value = parsedJson(text);
  checkJson(value, []);
  return value;
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FlagProblem('not-json', `The body is not JSON: ${messageOf(error)}.`);
  }
}

/**
 * Refuses what the parser takes and others do not: any depth, of which whatever follows a value by recursion runs out of
 * stack, as this would; and a key that a schema or a copy drops without a word, because objects have a setter of its name.
 */
function checkJson(value: unknown, path: readonly string[]): void {
  if (typeof value !== 'object' || value === null) return;
  if (path.length === FlagDefaults.maxBodyDepth) {
    throw bodyNotTaken('/', `objects and lists are at most ${FlagDefaults.maxBodyDepth} levels deep, these are more`);
  }
  if (Object.hasOwn(value, '__proto__')) throw bodyNotTaken(`/${path.join('/')}`, 'no key is called __proto__');
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'object') checkJson(inner, [...path, key]);
  }
}

/** JSON that no endpoint takes, whatever it is about. */
function bodyNotTaken(where: string, message: string): FlagProblem {
  const errors: readonly ProblemField[] = [{ where, message }];
  return new FlagProblem('invalid-request', `The body is not valid: ${where}: ${message}.`, { errors });
}

export function bodyTooLarge(): FlagProblem {
  return new FlagProblem('body-too-large', 'The body is larger than this endpoint takes.');
}

export function notJsonType(alsoYaml = false): FlagProblem {
  const types = alsoYaml ? 'application/json or application/yaml' : 'application/json';
  return new FlagProblem('not-json-type', `Send the body as Content-Type: ${types}.`);
}

export function unreadablePath(why: string): FlagProblem {
  return new FlagProblem('invalid-request', `The path cannot be read: ${why}.`);
}

/**
 * Without keys, a page of any origin could have this machine's browser ask: only names of this machine are answered, and
 * only its own pages. A browser sends a simple POST of a foreign page without asking before, and its answer is hidden from
 * the page, but the change would be made. OFREP changes no flag, and says itself which pages may read it.
 */
export function refuseStranger(access: Access, url: string, headers: IncomingHttpHeaders): void {
  if (!access.open) return;
  const name = (headers.host ?? '').replace(/:\d*$/, '');
  if (!isLoopback(unbracketed(name))) {
    throw new FlagProblem('forbidden', 'Without a key this service answers to 127.0.0.1 and localhost only.');
  }
  if (url.startsWith('/ofrep/') || !isOfForeignPage(headers)) return;
  throw new FlagProblem(
    'forbidden',
    'Without a key this service answers no web page of another machine; give it a key, or serve the page from localhost.',
  );
}

function isOfForeignPage({ origin, 'sec-fetch-site': site }: IncomingHttpHeaders): boolean {
  // Two names of this machine are two sites for a browser, so the origin counts where there is one.
  if (origin === undefined) return site === 'cross-site';
  return !URL.canParse(origin) || !isLoopback(unbracketed(new URL(origin).hostname));
}

function unbracketed(host: string): string {
  return host.replace(/^\[|\]$/g, '');
}

/** Whether an If-None-Match names what there is. */
export function matches(ifNoneMatch: string, etag: string): boolean {
  return ifNoneMatch.split(',').some((one) => one.trim().replace(/^W\//, '') === etag || one.trim() === '*');
}

/** A name or address of this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/** Of an error of the framework. */
export function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : '';
}

/** Anything that was thrown, as a problem. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof ForeignCursor) return foreignCursor(error);
  if (error instanceof StoreUnavailable) return new FlagProblem('store-unavailable', error.message);
  switch (codeOf(error)) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return bodyTooLarge();
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return notJsonType();
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new FlagProblem('invalid-request', 'The body is not as long as Content-Length says.');
    default:
      return new FlagProblem('internal', 'The server failed; its log says how.');
  }
}

function foreignCursor({ message }: ForeignCursor): FlagProblem {
  const errors: readonly ProblemField[] = [{ where: '?cursor', message }];
  return new FlagProblem('invalid-request', `The query is not valid: ?cursor: ${message}.`, { errors });
}

/** A problem as it leaves the service. */
export function problemAnswer(problem: Problem): Answer {
  return {
    status: problem.status,
    headers: {
      'content-type': PROBLEM_TYPE,
      ...(problem.code === 'unauthenticated' ? { 'www-authenticate': 'Bearer' } : {}),
    },
    body: problemDocument(problem),
  };
}
