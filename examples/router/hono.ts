import { Hono, type Context } from 'hono';
import { createCohortRouter, honoCohortRouter, type CanaryEnv } from '../../src/router';

/** The same shop with Hono. */
export function createShop(signedInUser: (context: Context) => string | undefined): Hono<CanaryEnv> {
  const router = createCohortRouter({ service: 'shop', stableVersion: '1.4.1', versions: ['1.4.1', '1.4.2'] });
  const app = new Hono<CanaryEnv>();
  app.use(honoCohortRouter(router, { user: signedInUser }));

  app.get('/checkout', (context) =>
    context.json(context.get('canary')?.version === '1.4.2' ? { checkout: 'one page' } : { checkout: 'three pages' }),
  );
  return app;
}
