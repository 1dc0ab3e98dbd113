import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AdminRequest, AdminResponse } from './admin';
import type { CohortRouter, Exchange, RoutedRequest } from './cohort-router';
import { RouterDefaults } from './defaults';

/** What an app may tell the router about its requests; `Req` is the framework's request. */
export interface AdapterOptions<Req> {
  /** The authenticated user's id, from the app's session; nothing for a guest. Throwing counts as a guest. */
  readonly user?: (request: Req) => string | number | null | undefined;
  /** The client's address, if the app finds it by other means than `trustProxy`. Throwing counts as unknown. */
  readonly address?: (request: Req) => string | null | undefined;
  /** True for requests that are to be neither routed nor counted, such as health probes. */
  readonly skip?: (request: Req) => boolean;
}

/**
 * Calls what the app gave us. Its exceptions must not become the client's; the router's log tells of them, because a
 * user that is not found moves people between the cohorts.
 */
export function guarded<Req, T>(
  router: Pick<CohortRouter, 'noteAppFault'>,
  name: keyof AdapterOptions<unknown>,
  read: ((request: Req) => T) | undefined,
  request: Req,
): T | undefined {
  try {
    return read?.(request);
  } catch (error) {
    router.noteAppFault(name, error);
    return undefined;
  }
}

/** What the router wants to know of a Node request. */
export function routedNodeRequest(request: IncomingMessage): RoutedRequest {
  const { headers } = request;
  return {
    remoteAddress: request.socket.remoteAddress,
    forwardedFor: joined(headers['x-forwarded-for']),
    cookie: headers.cookie,
    override: joined(headers['x-canary-override']),
  };
}

/** Counts the exchange when the answer is complete, or its connection closed before. */
export function observeNodeResponse(response: ServerResponse, exchange: Exchange): void {
  response.once('finish', () => exchange.finish({ status: response.statusCode }));
  // Comes after `finish` when all went well, and then changes nothing any more.
  response.once('close', () => exchange.finish('aborted'));
}

/** Splits a request target into path and query. */
export function splitTarget(target: string): { path: string; query: URLSearchParams } {
  const mark = target.indexOf('?');
  if (mark < 0) return { path: target, query: new URLSearchParams() };
  return { path: target.slice(0, mark), query: new URLSearchParams(target.slice(mark + 1)) };
}

/** Answers an admin request that arrived at a Node server. Rejects only when the connection broke. */
export async function answerNodeAdmin(
  router: CohortRouter,
  request: IncomingMessage & { readonly body?: unknown },
): Promise<AdminResponse> {
  const { path, query } = splitTarget(request.url ?? '/');
  const admin: AdminRequest = { method: request.method ?? 'GET', path, headers: request.headers, query };
  // A body parser that ran before us has emptied the stream and left its result.
  if (request.readableEnded) return router.handleAdmin({ ...admin, body: parsedBody(request.body) });
  const body = await readNodeBody(request);
  return router.handleAdmin(body === null ? { ...admin, bodyTooLarge: true } : { ...admin, body });
}

/** Writes an admin answer to a Node response. */
export function sendNodeAdmin(response: ServerResponse, answer: AdminResponse): void {
  response.writeHead(answer.status, { ...answer.headers, 'content-length': Buffer.byteLength(answer.body) });
  response.end(answer.body);
}

function parsedBody(body: unknown): unknown {
  return Buffer.isBuffer(body) ? body.toString('utf8') : body;
}

/** What is read of an oversized body before the answer, so that a client still writing gets to read it. */
const MAX_DRAINED_BYTES = 64 * RouterDefaults.maxBodyBytes;

/** The body as text; null when it is over the limit, of which no more than the limit is kept. */
function readNodeBody(request: IncomingMessage): Promise<string | null> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size <= RouterDefaults.maxBodyBytes) chunks.push(chunk);
      else chunks.length = 0;
      if (size > MAX_DRAINED_BYTES) resolve(null);
    });
    request.once('end', () => {
      resolve(size > RouterDefaults.maxBodyBytes ? null : Buffer.concat(chunks).toString('utf8'));
    });
    request.once('error', reject);
    request.once('close', () => reject(new Error('the connection closed before the body was complete')));
  });
}

function joined(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(',') : value;
}
