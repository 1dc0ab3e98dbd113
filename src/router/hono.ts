import type { ServerResponse } from 'node:http';
import type { Context, MiddlewareHandler } from 'hono';
import type { AdminRequest } from './admin';
import type { Assignment, CohortRouter, RoutedRequest } from './cohort-router';
import { RouterDefaults } from './defaults';
import { guarded, observeNodeResponse, type AdapterOptions } from './node-http';

/** The variables `honoCohortRouter` adds to a context. */
export interface CanaryVariables {
  /** Absent on requests that were skipped. */
  canary?: Assignment;
}

/** The environment to give a Hono app, so that `c.get('canary')` is typed. */
export interface CanaryEnv {
  Variables: CanaryVariables;
}

/**
 * Middleware for Hono: answers the admin endpoints, sets `c.get('canary')` and the response headers, and counts the
 * request.
 *
 * On Node (`@hono/node-server`) the request is counted when its answer is complete, and the socket gives the client's
 * address. Elsewhere it is counted when the handlers are done, before a streamed body, and the app gives the address
 * by the option `address`.
 */
export function honoCohortRouter(
  router: CohortRouter,
  options: AdapterOptions<Context> = {},
): MiddlewareHandler<CanaryEnv> {
  return async (context, next) => {
    if (router.isAdminPath(context.req.path)) {
      const answer = router.handleAdmin(await adminRequest(context));
      return new Response(context.req.method === 'HEAD' ? null : answer.body, answer);
    }
    if (guarded(router, 'skip', options.skip, context) === true) {
      await next();
      return;
    }
    const node = nodeBindings(context);
    const exchange = router.begin({
      ...routedHonoRequest(context, node),
      userId: guarded(router, 'user', options.user, context),
      clientAddress: guarded(router, 'address', options.address, context),
    });
    context.set('canary', exchange.assignment);
    if (node.outgoing !== undefined) observeNodeResponse(node.outgoing, exchange);
    try {
      await next();
    } catch (error) {
      exchange.finish('threw');
      throw error;
    }
    // Set afterwards, because a handler that answers with a Response of its own drops what was set before.
    for (const [name, value] of Object.entries(exchange.headers)) context.header(name, value);
    if (exchange.setCookie !== null) context.header('Set-Cookie', exchange.setCookie, { append: true });
    if (exchange.variesByCookie) context.header('Vary', 'Cookie', { append: true });
    if (node.outgoing === undefined) exchange.finish({ status: context.res.status });
  };
}

interface NodeBindings {
  readonly remoteAddress: string | undefined;
  readonly outgoing: ServerResponse | undefined;
}

/** What `@hono/node-server` puts into the environment; nothing of it elsewhere. */
function nodeBindings(context: Context): NodeBindings {
  const bindings = (context.env ?? {}) as {
    incoming?: { socket?: { remoteAddress?: string } };
    outgoing?: ServerResponse;
  };
  return { remoteAddress: bindings.incoming?.socket?.remoteAddress, outgoing: bindings.outgoing };
}

function routedHonoRequest(context: Context, node: NodeBindings): RoutedRequest {
  return {
    remoteAddress: node.remoteAddress,
    forwardedFor: context.req.header('x-forwarded-for'),
    cookie: context.req.header('cookie'),
    override: context.req.header('x-canary-override'),
  };
}

async function adminRequest(context: Context): Promise<AdminRequest> {
  const { method, path, raw } = context.req;
  const admin = { method, path, headers: context.req.header(), query: new URL(raw.url).searchParams };
  const body = await readWebBody(raw.body);
  return body === null ? { ...admin, bodyTooLarge: true } : { ...admin, body };
}

/** The body as text; null when it is over the limit. */
async function readWebBody(stream: ReadableStream<Uint8Array> | null): Promise<string | null> {
  if (stream === null) return '';
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > RouterDefaults.maxBodyBytes) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
