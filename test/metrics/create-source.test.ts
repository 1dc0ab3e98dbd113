import { createMetricSource } from '../../src/metrics/create-source';
import type { MetricSourcePlan, TargetPlan } from '../../src/spec/plan-types';
import { FLAG_PLAN } from '../targets/flag-plan';
import { json, startFakeServer } from './fake-server';
import { P95, requestOf } from './requests';

const ROUTER: TargetPlan = { kind: 'router', instances: ['http://127.0.0.1:1'], tokenEnv: 'T', overrideSecretEnv: 'S' };

function prometheus(url: string, tokenEnv: string | null): MetricSourcePlan {
  return { kind: 'prometheus', url, tokenEnv, timeoutMs: 1_000 };
}

describe('the metric source of a plan', () => {
  it('is given the token that the worker has under the name in the plan', async () => {
    const server = await startFakeServer((_request, response) => json(response, {}));
    const source = createMetricSource(prometheus(server.url, 'PROM_TOKEN'), FLAG_PLAN, { PROM_TOKEN: ' abc \n' });

    await source.sample(requestOf([P95]));

    expect(server.requests[0]?.headers.authorization).toBe('Bearer abc');
    source.close();
    await server.close();
  });

  it.each([{}, { PROM_TOKEN: '' }])('is none without that token: %j', (env) => {
    expect(() => createMetricSource(prometheus('http://p', 'PROM_TOKEN'), FLAG_PLAN, env)).toThrow(
      "The environment variable PROM_TOKEN, which should hold the metric source's token, is not set.",
    );
  });

  it('may do without a token', () => {
    createMetricSource(prometheus('http://p', null), FLAG_PLAN, {}).close();
  });

  it('asks the instances of a router', async () => {
    const source = createMetricSource({ kind: 'router' }, ROUTER, {});

    const { metrics } = await source.sample(requestOf([P95]));

    expect(metrics[0]?.canary.problem?.message).toBe('instance http://127.0.0.1:1 refused the connection');
    source.close();
  });

  it('asks no router where there is none', () => {
    expect(() => createMetricSource({ kind: 'router' }, FLAG_PLAN, {})).toThrow(
      expect.objectContaining({ code: 'unsupported' }) as Error,
    );
  });

  it('makes numbers up only when asked to', async () => {
    const source = createMetricSource({ kind: 'simulated', phases: [] }, FLAG_PLAN, {});

    expect((await source.sample(requestOf([P95]))).simulated).toBe(true);
    source.close();
  });
});
