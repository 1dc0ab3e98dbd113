import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { json, startFakeServer } from '../metrics/fake-server';
import { FakeSluice } from './fake-client';
import { run } from './harness';

describe('sluice doctor, of a metric source', () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-doctor-metrics-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const blueGreen =
    '{ kubernetes: { deployment: shop, service: shop, strategy: blueGreen, traffic: { serviceSelector: {} } } }';

  it.each([
    ['a flag', '{ flag: { name: till, environment: production } }', 'variant="off"'],
    ['a pair whose users blue has', blueGreen, 'track="blue"'],
    ['a pair whose users green has', blueGreen, 'track="green"'],
    ['a pair before its first release', blueGreen, 'track="stable"'],
  ])('asks for the series that a release asks for: of %s', async (_what, target, users) => {
    const asked: string[] = [];
    const prometheus = await startFakeServer((request, response) => {
      const query = new URLSearchParams(request.body).get('query') ?? '';
      asked.push(query);
      const result = query.includes(users) ? [{ metric: {}, value: [Date.now() / 1000, '100'] }] : [];
      json(response, { status: 'success', data: { resultType: 'vector', result } });
    });
    const spec = join(directory, 'release.yaml');
    const preset = target === blueGreen ? ', preset: http' : '';
    writeFileSync(
      spec,
      `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: till, namespace: shop }
spec:
  target: ${target}
  analysis: { source: { prometheus: { url: "${prometheus.url}" } }${preset} }
`,
    );
    try {
      const { out } = await run(['doctor', spec], {
        client: new FakeSluice(),
        env: { KUBECONFIG: join(directory, 'none') },
      });

      expect(out).toContain('metric error-rate: has data for stable.');
      expect(out).not.toMatch(/matched no series|Without data/);
      const plain = asked.filter((query) => /"(canary|stable)"/.test(query));
      expect(plain.length > 0).toBe(users === 'track="stable"');
    } finally {
      await prometheus.close();
    }
  });
});
