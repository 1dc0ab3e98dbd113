// One instance of a small shop that carries the in-app cohort router. All versions are in one process: v1, v2, and v3,
// which cannot stand more than a few users. Settings: SHOP_LISTEN (host:port) and those of the router.
import { createServer } from 'node:http';
import { createCohortRouter, expressCohortRouter } from 'sluice/router';

// The mistake of v3: it waits for a database that hands out only so many connections a second.
const pool = createPool(2);
const versions = {
  v1: () => ({ status: 200, body: 'sold, by v1' }),
  v2: () => ({ status: 200, body: 'sold, by v2' }),
  v3: () =>
    pool() ? { status: 200, body: 'sold, by v3' } : { status: 503, body: 'v3: no database connection is free' },
};

const router = createCohortRouter({
  service: 'shop',
  versions: Object.keys(versions),
  prometheusPath: '/metrics',
});

const route = expressCohortRouter(router, {
  // A real shop takes the id from its session: a header that clients write proves nothing.
  user: (request) => request.headers['x-user-id'],
  // Health checks are no users: they would only thin the numbers out.
  skip: (request) => request.url === '/healthz',
});

const server = createServer((request, response) => {
  route(request, response, () => {
    const version = request.canary?.version;
    const { status, body } = version === undefined ? { status: 200, body: 'ok' } : versions[version]();
    response.writeHead(status, { 'content-type': 'text/plain' }).end(`${body}\n`);
  });
});

const [host, port] = (process.env.SHOP_LISTEN ?? '127.0.0.1:3000').split(':');
server.listen(Number(port), host, () => console.log(`The shop answers on ${host}:${port}.`));

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}

/** At most so many a second, with one second's worth in reserve. */
function createPool(perSecond) {
  let free = perSecond;
  let at = performance.now();
  return () => {
    const now = performance.now();
    free = Math.min(perSecond, free + ((now - at) / 1000) * perSecond);
    at = now;
    if (free < 1) return false;
    free -= 1;
    return true;
  };
}
