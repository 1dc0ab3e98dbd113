import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The release.yaml of the demo: an ordinary one, with soaks of seconds instead of minutes. */
export function routerDemoSpec(instances: readonly string[]): string {
  return `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: shop, namespace: demo }
spec:
  target:
    router:
      instances:
${instances.map((instance) => `        - ${instance}`).join('\n')}
  smokeTest: { path: /checkout }
  steps:
    - { weight: 5, soak: 7s }
    - { weight: 25, soak: 7s }
    - { weight: 50, soak: 7s }
    - { weight: 100, soak: 7s }
  analysis:
    interval: 1s
    window: 10s
    minRequests: 10
    minMeasurements: 3
    metrics:
      - { name: error-rate, max: 5% }
      - { name: p95-latency, max: 2s }
  onFailure: rollback
`;
}

/** The same for the shop in a cluster. Prometheus scrapes there each second, as the lab's does. */
export function kubernetesDemoSpec(shop: { readonly namespace: string; readonly prometheusUrl: string }): string {
  return `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: shop, namespace: ${shop.namespace} }
spec:
  target:
    kubernetes:
      deployment: shop
      service: shop
      traffic: { gatewayAPI: { httpRoute: shop } }
      drain: 3s
  deployTimeout: 3m
  smokeTest: { path: /, attempts: 5 }
  steps:
    - { weight: 5, soak: 10s }
    - { weight: 25, soak: 10s }
    - { weight: 50, soak: 10s }
    - { weight: 100, soak: 10s }
  analysis:
    source: { prometheus: { url: ${JSON.stringify(shop.prometheusUrl)} } }
    interval: 2s
    window: 10s
    minRequests: 10
    minMeasurements: 3
    metrics:
      - { name: error-rate, max: 5% }
      - { name: p95-latency, max: 2s }
  onFailure: rollback
`;
}

/** Writes it to a folder of its own. */
export async function writeDemoSpec(text: string): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const directory = await mkdtemp(path.join(tmpdir(), 'sluice-demo-'));
  const file = path.join(directory, 'release.yaml');
  await writeFile(file, text);
  return { path: file, remove: () => rm(directory, { recursive: true, force: true }) };
}
