import { createPrometheusSource } from '../../src/metrics/prometheus';
import { readRetention } from '../../src/metrics/prometheus-retention';
import type { Observation } from '../../src/analysis/sample';
import { json, startFakeServer } from './fake-server';
import type { Handler } from './fake-server';
import { AT, ERROR_RATE, P95, requestOf } from './requests';

const HOUR_MS = 3_600_000;

it.each([
  ['15d', 15 * 24 * HOUR_MS],
  ['1h30m', 1.5 * HOUR_MS],
  ['6h or 512MiB', 6 * HOUR_MS],
  ['1y', 365 * 24 * HOUR_MS],
  ['512MiB', null],
  ['', null],
  ['0s', null],
  ['-3h', null],
])('%j keeps samples for %j ms', (text, ms) => {
  expect(readRetention(text)).toBe(ms);
});

describe('a window', () => {
  const vector = (value: string): object => ({
    status: 'success',
    data: { resultType: 'vector', result: [{ metric: {}, value: [AT / 1000, value] }] },
  });

  async function observe(windowMs: number, info: Handler): Promise<{ observed: Observation[]; asked: string[] }> {
    const asked: string[] = [];
    const server = await startFakeServer((request, response) => {
      asked.push(request.path);
      if (request.path.startsWith('/api/v1/status')) return info(request, response);
      json(response, vector('10'));
    });
    const source = createPrometheusSource({ url: server.url, timeoutMs: 10_000 });
    try {
      const { metrics } = await source.sample(requestOf([ERROR_RATE, P95], { windowMs }));
      return { observed: metrics.map(({ canary }) => canary), asked };
    } finally {
      source.close();
      await server.close();
    }
  }
  const keeps =
    (storageRetention: string): Handler =>
    (_, response) =>
      json(response, { status: 'success', data: { storageRetention } });

  it('that is longer than samples are kept is no data of it, where it is asked for', async () => {
    const { observed } = await observe(7 * HOUR_MS, keeps('6h'));

    expect(observed[0]?.problem).toMatchObject({
      kind: 'error',
      message: expect.stringMatching(/^the window of 7h is longer than .* keeps samples \(6h\)/) as string,
    });
    // Asks for no window.
    expect(observed[1]).toMatchObject({ value: 10 });
  });

  it('of two hours is there whatever is kept, and nothing is asked for it', async () => {
    const { observed, asked } = await observe(2 * HOUR_MS, keeps('5m'));

    expect(observed[0]).toMatchObject({ value: 1 });
    expect(asked.filter((url) => url.startsWith('/api/v1/status'))).toEqual([]);
  });

  it.each<[string, Handler]>([
    ['that does not say it', (_, response) => response.writeHead(404).end('no')],
    ['that says something else', (_, response) => json(response, { status: 'success', data: [] })],
    ['bounded by size alone', keeps('512MiB')],
    ['that keeps them longer', keeps('8h')],
  ])('is asked for at a server %s', async (_, info) => {
    expect((await observe(7 * HOUR_MS, info)).observed[0]).toMatchObject({ value: 1 });
  });
});
