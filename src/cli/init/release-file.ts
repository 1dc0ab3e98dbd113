import { stringify } from 'yaml';
import type { InitSettings, TrafficKind } from './settings';

/** release.yaml, with what can be changed as comments. */
export function releaseFile(settings: InitSettings): string {
  const { healthPath, prometheus } = settings;
  const name = scalar(settings.name);
  return `# How ${settings.name} is released. Check it with: sluice validate release.yaml
# See what a release would do:              sluice plan release.yaml --image IMAGE:TAG
# Release:                                  sluice deploy release.yaml --image IMAGE:TAG
apiVersion: sluice.dev/v1
kind: Release
metadata:
  name: ${name}
  namespace: ${scalar(settings.namespace)}
spec:
  target:
    kubernetes:
${target(settings)}
${smokeTest(settings.traffic, healthPath)}

  # How long the new version may take to be ready.
  deployTimeout: 10m

${settings.strategy === 'blueGreen' ? stepsOfPair(settings.traffic) : steps(settings.traffic)}
  # What decides after each weight. The metrics are http_requests_total (with a label status) and
  # http_request_duration_seconds of both tracks; those without data never count as good.
  analysis:
    source: { prometheus: { url: ${JSON.stringify(prometheus)} } }
    interval: 15s # as often as the ServiceMonitor asks the pods
    preset: http
    metrics:
      - { name: error-rate, max: 5% }
      - { name: p95-latency, max: 1s }
    # Beside the limits, both tracks are compared: no more than this many times stable's share of failures.
    compare: { tolerate: 1.25 }

  # After a failing verdict: back at once, or pause for a person.
  onFailure: rollback
  # When another release of the service runs: reject, queue or supersede.
  onConflict: reject

  # The worker needs SLUICE_SLACK_TOKEN for this.
  # notify: { slack: { channel: "#deploys" } }
`;
}

function smokeTest(traffic: TrafficKind, healthPath: string): string {
  if (traffic === 'replicas') {
    return `  # No smoke test: where nobody splits, pods have users as soon as their readiness probe passes.`;
  }
  return `  # Asked of the new version before any user reaches it.
  smokeTest: { path: ${JSON.stringify(healthPath)} }`;
}

function target(settings: InitSettings): string {
  const { traffic } = settings;
  const name = scalar(settings.name);
  const drain = `      # How long pods without traffic are kept, so that requests under way end:
      # drain: 30s
`;
  if (settings.strategy === 'blueGreen') {
    return `      strategy: blueGreen
      deployment: ${name} # of the two: ${settings.name}-blue and ${settings.name}-green
      service: ${name} # finds the pods of one of them; each has a preview of its own, ${settings.name}-blue and ${settings.name}-green
      traffic: ${trafficLine(name, traffic)}
      keepOld: 30m # after the promotion: for so long the way back is one write
${drain}`;
  }
  return `      deployment: ${name} # the canary's is ${settings.name}-canary
      service: ${name} # the canary's is ${settings.name}-canary
      traffic: ${trafficLine(name, traffic)}
${drain}      # Immutable copies of the ConfigMaps and Secrets that the pods name, taken back with the version. The worker then
      # needs the right to read them; print its Role anew with: sluice rbac release.yaml
      # config: snapshot
`;
}

/** Quoted where YAML would take it for something else: "null", "123". */
function scalar(text: string): string {
  return stringify(text).trimEnd();
}

function trafficLine(name: string, traffic: TrafficKind): string {
  switch (traffic) {
    case 'gatewayAPI':
      return `{ gatewayAPI: { httpRoute: ${name} } }`;
    case 'nginx':
      return `{ nginx: { ingress: ${name} } }`;
    case 'traefik':
      return `{ traefik: { traefikService: ${name} } }`;
    case 'istio':
      return `{ istio: { virtualService: ${name} } }`;
    case 'serviceSelector':
      return '{ serviceSelector: {} }';
    case 'replicas':
      return '{ replicas: {} }';
  }
}

/** Requests that get the new version before anybody else does; null where the router knows none. */
const MATCH: Record<TrafficKind, string | null> = {
  gatewayAPI: '{ header: { x-canary: "true" } }',
  istio: '{ header: { x-canary: "true" } }',
  nginx: '{ cookie: canary }',
  traefik: null,
  serviceSelector: null,
  replicas: null,
};

function stepsOfPair(traffic: TrafficKind): string {
  const match = MATCH[traffic];
  return [
    '  # At 100 % the Service is switched in one write; until then the new version is up, whole, behind its preview.',
    '  steps:',
    ...(match === null ? [] : ['    # Testers first, by marked requests:', `    # - match: ${match}`]),
    ...(traffic === 'serviceSelector'
      ? []
      : ['    # A share of the traffic before the switch:', '    # - { weight: 10, soak: 5m }']),
    '    # A person decides about the switch:',
    '    # - approve: { by: [oncall], timeout: 4h }',
    '    - { weight: 100, soak: 5m }',
    '',
  ].join('\n');
}

function steps(traffic: TrafficKind): string {
  if (traffic === 'serviceSelector') {
    return `  # A Service selector moves all traffic at once.
  steps:
    # - approve: { by: [oncall], timeout: 4h }
    - { weight: 100, soak: 5m }
`;
  }
  const weights = traffic === 'replicas' ? [25, 50] : [5, 25, 50];
  const match = MATCH[traffic];
  const title =
    traffic === 'replicas'
      ? '  # Weights come as near as whole pods allow: with 4 pods 25, 50 and 75 %.'
      : '  # Each weight is held for its soak and advances only when the analysis passes.';
  return [
    title,
    '  steps:',
    ...(match === null
      ? []
      : [
          '    # Testers first: marked requests get the new version before anybody else does.',
          `    # - match: ${match}`,
        ]),
    ...weights.map((weight) => `    - { weight: ${weight}, soak: 2m }`),
    '    # A person decides about the rest:',
    '    # - approve: { by: [oncall], timeout: 4h }',
    '    - { weight: 100, soak: 2m }',
    '',
  ].join('\n');
}
