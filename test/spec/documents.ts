import { parseSpec } from '../../src/spec/load';
import type { ReleaseSpec } from '../../src/spec/load';
import { formatProblem } from '../../src/spec/problems';

/** The example of the design page, word by word. */
export const DESIGN_EXAMPLE = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes:
      deployment: checkout            # stable; the canary Deployment is checkout-canary
      service: checkout
      traffic: { gatewayAPI: { httpRoute: checkout } }
  smokeTest: { path: /healthz }
  steps:                              # default: 5, 25, 50, 100 with 60s each
    - { weight: 5, soak: 60s }
    - { weight: 25, soak: 60s }
    - approve: { by: [oncall], timeout: 4h }
    - { weight: 50, soak: 5m }
    - { weight: 100, soak: 60s }
  analysis:
    source: { prometheus: { url: http://prometheus:9090 } }
    interval: 5s
    preset: http                      # error rate and p95 by http_requests_total / http_request_duration_seconds
    metrics:
      - { name: error-rate, max: 5% }
      - { name: p95-latency, max: 1s }
    compare: { alpha: 0.01, tolerate: 1.25 }
  onFailure: rollback
  notify: { slack: { channel: "#deploys" } }
`;

/** Two typos and a weight that does not rise; docs/spec.md shows what is said about it. */
export const FAULTY_EXAMPLE = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, traffic: { gatewayAPI: { httpRoute: checkout } } }
  steps:
    - { weight: 25, soack: 60s }
    - { weight: 5, soak: 60 parsecs }
  analysis:
    source: { prometheus: { url: "http://127.0.0.1:9" } }
    preset: http
`;

/** A release over a router, with further lines under `spec:` (each indented by two). */
export function routerDocument(lines = ''): string {
  return `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: shop }
spec:
  target: { router: { instances: ["http://127.0.0.1:3000"] } }
${lines}`;
}

/** A release over a router judged by a Prometheus, with further lines under `analysis:` (each indented by four). */
export function prometheusDocument(lines: string): string {
  return routerDocument(`  analysis:
    source: { prometheus: { url: "http://p:9090", labels: { job: shop } } }
${lines}`);
}

/** The spec of a document that is known to be valid. */
export function validSpec(text: string): ReleaseSpec {
  const result = parseSpec(text, 'release.yaml');
  if (!result.ok) throw new Error(result.problems.map(formatProblem).join('\n'));
  return result.spec;
}

/** All problems of a document as they are shown; empty when it is valid. */
export function problemsOf(text: string): string[] {
  const result = parseSpec(text, 'release.yaml');
  return result.ok ? [] : result.problems.map(formatProblem);
}
