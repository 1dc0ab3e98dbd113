import { DURATION_BOUNDS } from '../targets/kubernetes/request-counter';
import type { RequestCounter } from '../targets/kubernetes/request-counter';

interface Family {
  readonly name: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly samples: (counter: RequestCounter) => readonly Sample[];
}

interface Sample {
  /** What follows the family's name: `_bucket`, `_sum`, `_count`, or nothing. */
  readonly suffix: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const FAMILIES: readonly Family[] = [
  {
    name: 'sluice_kubernetes_requests_total',
    type: 'counter',
    help: 'Tries of requests to the Kubernetes API server, by how they ended.',
    samples: (counter) =>
      counter
        .snapshot()
        .map(({ verb, resource, status, count }) => ({ suffix: '', labels: { verb, resource, status }, value: count })),
  },
  {
    name: 'sluice_kubernetes_retries_total',
    type: 'counter',
    help: 'Requests to the Kubernetes API server that were tried again.',
    samples: (counter) =>
      counter.retries().map(({ verb, resource, count }) => ({ suffix: '', labels: { verb, resource }, value: count })),
  },
  {
    name: 'sluice_kubernetes_watches',
    type: 'gauge',
    help: 'Watches of single objects that are open at the Kubernetes API server.',
    samples: (counter) => [{ suffix: '', labels: {}, value: counter.openWatches() }],
  },
  {
    name: 'sluice_kubernetes_request_duration_seconds',
    type: 'histogram',
    help: 'How long one try of a request to the Kubernetes API server took.',
    samples: (counter) =>
      counter.durations().flatMap(({ verb, resource, within, count, sumSeconds }) => {
        const labels = { verb, resource };
        return [
          ...DURATION_BOUNDS.map((bound, index) => ({
            suffix: '_bucket',
            labels: { ...labels, le: String(bound) },
            value: within[index] ?? 0,
          })),
          { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
          { suffix: '_sum', labels, value: sumSeconds },
          { suffix: '_count', labels, value: count },
        ];
      }),
  },
];

/** What the worker has asked of Kubernetes, in Prometheus' text format. */
export function clusterMetrics(counter: RequestCounter): string {
  const lines = FAMILIES.flatMap(({ name, type, help, samples }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...samples(counter).map(({ suffix, labels, value }) => `${name}${suffix}${labelsOf(labels)} ${value}`),
  ]);
  return `${lines.join('\n')}\n`;
}

function labelsOf(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`))}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
