/** One of those who are measured side by side: the same course for each, in a namespace of its own. */
export interface Contender {
  readonly name: string;
  readonly namespace: string;
  /** Makes the services and returns when their stable pods are ready. */
  prepare(services: readonly string[]): Promise<void>;
  /** Asks for a release of the new version. */
  start(service: string): Promise<void>;
  /** Asks for it to be taken back. */
  abort(service: string): Promise<void>;
  /** What it says of itself, for when it does not do what is waited for. */
  state(service: string): Promise<string>;
  /** Returns when nothing of it is left and the next could start. */
  settle(service: string): Promise<void>;
  /** The Ingress that carries the canary's weight. */
  canaryIngress(service: string): string;
  /** How the names of the canary's pods begin; undefined where only their time tells them from the stable ones. */
  podPrefix(service: string): string;
  /** Requests to the API server since its start. */
  requests(): Promise<number>;
}

/** The course: each weight held for a pause, the last until it is taken back. */
export const COURSE = { weights: [10, 30, 60], pauseS: 3 } as const;

/** The sum of a Prometheus counter over all its series, as an exporter writes it. */
export async function sumOfCounter(metricsUrl: string, counter: string): Promise<number> {
  const response = await fetch(metricsUrl, { signal: AbortSignal.timeout(10_000) });
  const text = await response.text();
  return text
    .split('\n')
    .filter((line) => line.startsWith(`${counter}{`) || line.startsWith(`${counter} `))
    .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
}
