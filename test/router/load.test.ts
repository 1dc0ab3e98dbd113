import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { expressCohortRouter } from '../../src/router';
import { call, fence, startRelease, testRouter } from './support';

describe('under load', () => {
  it('keeps nothing per user or request: its documents stay as large as they were', () => {
    const { router, clock } = testRouter({ guard: false });
    startRelease(router, 50);
    const run = (from: number, to: number) => {
      for (let i = from; i < to; i++) {
        const exchange = router.begin({ userId: `user-${i}`, cookie: `x=${i}`, override: `v1.${i}.x` });
        if (i % 100 === 0) clock.advance(50);
        exchange.finish(i % 7 === 0 ? 'aborted' : { status: i % 5 === 0 ? 500 : 200 });
      }
    };
    // Digits of counts and times may differ; the shape may not.
    const shape = () =>
      JSON.stringify([router.metrics(), router.state()]).replace(/[0-9.]+/g, '0').length +
      router.prometheus().split('\n').length;

    run(0, 2_000);
    const before = shape();
    run(2_000, 60_000);

    expect(shape()).toBe(before);
    const { stable, canary } = router.metrics().cohorts;
    expect(stable.total.requests + canary.total.requests).toBe(60_000);
  });

  it('loses no request while weights change, and every answer is of the version that was decided', async () => {
    const { router } = testRouter({ guard: false });
    const app = express();
    app.use(expressCohortRouter(router, { user: (request) => request.headers['x-test-user'] as string }));
    app.get('/', (request, response) => {
      setImmediate(() => response.json(request.canary));
    });
    const server = createServer(app);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    startRelease(router, 5);

    const requests = 1500;
    const steps = [25, 50, 100];
    const seen = { stable: 0, canary: 0 };
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < requests) {
        const number = next++;
        const index = number % 400 === 399 ? Math.floor(number / 400) : -1;
        const weight = steps[index];
        if (weight !== undefined) call(router, 200, 'PUT', '/canary/weight', { weight, fence: fence(2 + index) });
        const response = await fetch(url, { headers: { 'x-test-user': `user-${number % 97}` } });
        const body = (await response.json()) as { cohort: 'stable' | 'canary'; version: string };
        expect(response.status).toBe(200);
        expect(response.headers.get('x-deployment-version')).toBe(body.version);
        seen[body.cohort] += 1;
      }
    };
    await Promise.all(Array.from({ length: 8 }, worker));
    await new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeIdleConnections();
    });

    const { stable, canary } = router.metrics().cohorts;
    expect({ stable: stable.total.requests, canary: canary.total.requests }).toEqual(seen);
    expect(router.snapshot().weight).toBe(100);
  });
});
