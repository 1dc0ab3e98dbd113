import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Assignment, CohortRouter } from './cohort-router';
import {
  answerNodeAdmin,
  guarded,
  observeNodeResponse,
  routedNodeRequest,
  sendNodeAdmin,
  splitTarget,
  type AdapterOptions,
} from './node-http';

declare global {
  // Where Express 4 and 5 look for an app's own members of a request.
  // eslint-disable-next-line @typescript-eslint/no-namespace
  namespace Express {
    interface Request {
      /** Set by `expressCohortRouter`. */
      canary?: Assignment;
    }
  }
}

/** A middleware for Express 4 and 5, Connect, and whatever else calls `(request, response, next)`. */
export type ExpressMiddleware<Req extends IncomingMessage> = (
  request: Req,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => void;

/**
 * Middleware for Express 4 and 5: answers the admin endpoints, sets `req.canary` and the response headers, and counts
 * the request when its answer is complete.
 *
 * Use it after what authenticates the user and before the routes. Errors of the router never reach `next`.
 */
export function expressCohortRouter<Req extends IncomingMessage = IncomingMessage>(
  router: CohortRouter,
  options: AdapterOptions<Req> = {},
): ExpressMiddleware<Req> {
  return (request, response, next) => {
    if (router.isAdminPath(splitTarget(request.url ?? '/').path)) {
      answerNodeAdmin(router, request).then(
        (answer) => sendNodeAdmin(response, answer),
        () => response.destroy(), // The connection is gone; there is nobody to answer.
      );
      return;
    }
    if (guarded(router, 'skip', options.skip, request) === true) {
      next();
      return;
    }
    const exchange = router.begin({
      ...routedNodeRequest(request),
      userId: guarded(router, 'user', options.user, request),
      clientAddress: guarded(router, 'address', options.address, request),
    });
    for (const [name, value] of Object.entries(exchange.headers)) response.setHeader(name, value);
    if (exchange.setCookie !== null) response.appendHeader('Set-Cookie', exchange.setCookie);
    if (exchange.variesByCookie) response.appendHeader('Vary', 'Cookie');
    observeNodeResponse(response, exchange);
    (request as { canary?: Assignment }).canary = exchange.assignment;
    next();
  };
}
