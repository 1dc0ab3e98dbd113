import fastify, { type FastifyInstance, type FastifyRequest } from 'fastify';
import { createCohortRouter, fastifyCohortRouter } from '../../src/router';

/** The same shop with Fastify. */
export async function createShop(
  signedInUser: (request: FastifyRequest) => string | undefined,
): Promise<FastifyInstance> {
  const router = createCohortRouter({ service: 'shop', stableVersion: '1.4.1', versions: ['1.4.1', '1.4.2'] });
  const app = fastify();
  await app.register(fastifyCohortRouter(router, { user: signedInUser }));

  app.get('/checkout', (request) =>
    request.canary?.version === '1.4.2' ? { checkout: 'one page' } : { checkout: 'three pages' },
  );
  return app;
}
