import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import type { Assignment, CohortRouter } from './cohort-router';
import {
  answerNodeAdmin,
  guarded,
  observeNodeResponse,
  routedNodeRequest,
  splitTarget,
  type AdapterOptions,
} from './node-http';

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by `fastifyCohortRouter`; null on requests that were skipped. */
    canary: Assignment | null;
  }
}

/**
 * Plugin for Fastify 5: answers the admin endpoints, sets `request.canary` and the response headers, and counts the
 * request when its answer is complete.
 *
 * Register it on the root, after the hooks that authenticate the user.
 */
export function fastifyCohortRouter(
  router: CohortRouter,
  options: AdapterOptions<FastifyRequest> = {},
): FastifyPluginCallback {
  const plugin: FastifyPluginCallback = (fastify: FastifyInstance, _pluginOptions, done) => {
    fastify.decorateRequest('canary', null);
    fastify.addHook('onRequest', async (request: FastifyRequest, reply: FastifyReply) => {
      if (router.isAdminPath(splitTarget(request.raw.url ?? '/').path)) {
        const answer = await answerNodeAdmin(router, request.raw);
        return reply.code(answer.status).headers(answer.headers).send(answer.body);
      }
      if (guarded(router, 'skip', options.skip, request) === true) return;
      const exchange = router.begin({
        ...routedNodeRequest(request.raw),
        userId: guarded(router, 'user', options.user, request),
        clientAddress: guarded(router, 'address', options.address, request),
      });
      reply.headers(exchange.headers);
      if (exchange.setCookie !== null) reply.header('Set-Cookie', exchange.setCookie);
      if (exchange.variesByCookie) reply.header('Vary', 'Cookie');
      observeNodeResponse(reply.raw, exchange);
      request.canary = exchange.assignment;
    });
    done();
  };
  // What fastify-plugin would do: the hook holds for the whole app instead of a scope of its own.
  return Object.assign(plugin, {
    [Symbol.for('skip-override')]: true,
    [Symbol.for('fastify.display-name')]: 'sluice-router',
  });
}
