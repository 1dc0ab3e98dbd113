import express, { type Express, type Request } from 'express';
import { createCohortRouter, expressCohortRouter } from '../../src/router';

/** A shop whose one process can serve two versions of its checkout. */
export function createShop(signedInUser: (request: Request) => string | undefined): Express {
  const router = createCohortRouter({
    service: 'shop',
    stableVersion: '1.4.1',
    versions: ['1.4.1', '1.4.2'],
    prometheusPath: '/metrics',
  });
  const app = express();
  app.use(expressCohortRouter(router, { user: signedInUser, skip: (request) => request.path === '/healthz' }));

  app.get('/checkout', (request, response) => {
    // Ask for the version, not the cohort: after the promotion the new version is the stable one.
    response.json(request.canary?.version === '1.4.2' ? { checkout: 'one page' } : { checkout: 'three pages' });
  });
  app.get('/healthz', (_request, response) => {
    response.json({ ok: true });
  });
  return app;
}
