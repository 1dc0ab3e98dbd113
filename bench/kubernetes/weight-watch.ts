import { request as httpsRequest } from 'node:https';
import type { ApiServer } from '../../src/targets/kubernetes/api-http';

const WEIGHT = 'nginx.ingress.kubernetes.io/canary-weight';

/** One weight as the API server told it to whoever watches, as an ingress controller does. */
export interface SeenWeight {
  readonly weight: number;
  /** `performance.now()` of this process. */
  readonly at: number;
}

interface Watched {
  readonly metadata: { readonly name: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

/**
 * Watches the Ingresses and pods of a namespace: when each weight was written and each pod became ready, by one clock for
 * everybody who is measured. Nothing is polled, so the answer is late by a watch event's way alone.
 */
export class WeightWatch {
  readonly #weights = new Map<string, SeenWeight[]>();
  readonly #ready = new Map<string, number>();
  readonly #requests: { destroy(): void }[] = [];
  #tell: (() => void)[] = [];
  #broken: Error | null = null;

  static async open(server: ApiServer, namespace: string): Promise<WeightWatch> {
    const watch = new WeightWatch();
    const ingresses = `/apis/networking.k8s.io/v1/namespaces/${namespace}/ingresses`;
    await watch.#follow(server, ingresses, (type, object) => watch.#ingress(type, object));
    await watch.#follow(server, `/api/v1/namespaces/${namespace}/pods`, (_, object) => watch.#pod(object));
    return watch;
  }

  /** The first time since `since` that an Ingress has a weight that fits. */
  async weight(ingress: string, fits: (weight: number) => boolean, since: number): Promise<SeenWeight> {
    return this.#until(`a weight of Ingress ${ingress}`, () =>
      this.#weights.get(ingress)?.find((seen) => seen.at >= since && fits(seen.weight)),
    );
  }

  /** When the first pod whose name begins so became ready, since `since`. */
  async podReady(prefix: string, since: number): Promise<number> {
    return this.#until(
      `a ready pod ${prefix}`,
      () => [...this.#ready].filter(([name, at]) => name.startsWith(prefix) && at >= since).map(([, at]) => at)[0],
    );
  }

  close(): void {
    for (const request of this.#requests) request.destroy();
  }

  #ingress(type: string, { metadata }: Watched): void {
    const weight = type === 'DELETED' ? 0 : Number(metadata.annotations?.[WEIGHT] ?? Number.NaN);
    if (Number.isNaN(weight)) return;
    const seen = this.#weights.get(metadata.name) ?? [];
    if (seen.at(-1)?.weight !== weight) seen.push({ weight, at: performance.now() });
    this.#weights.set(metadata.name, seen);
  }

  #pod({ metadata, status }: Watched): void {
    const ready = status?.conditions?.some((one) => one.type === 'Ready' && one.status === 'True') ?? false;
    if (ready && !this.#ready.has(metadata.name)) this.#ready.set(metadata.name, performance.now());
  }

  async #until<T>(what: string, look: () => T | undefined, limitMs = 120_000): Promise<T> {
    const deadline = performance.now() + limitMs;
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.#broken !== null) throw this.#broken;
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`Waited too long for ${what}.`);
      let timer: NodeJS.Timeout | undefined;
      await new Promise<void>((resolve) => {
        this.#tell.push(resolve);
        timer = setTimeout(resolve, left);
      });
      clearTimeout(timer);
    }
  }

  async #follow(server: ApiServer, path: string, take: (type: string, object: Watched) => void): Promise<void> {
    const { headers, tls } = await server.access();
    // From what the server knows now. Without a version it first asks etcd how far it is, which an older etcd never answers.
    const url = new URL(`${server.url}${path}?watch=true&resourceVersion=0`);
    await new Promise<void>((resolve, reject) => {
      const request = httpsRequest(url, { ...tls, headers, agent: false }, (response) => {
        if (response.statusCode !== 200) {
          reject(new Error(`The watch of ${path} was answered with ${response.statusCode ?? '?'}.`));
          return;
        }
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
          for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
            const { type, object } = JSON.parse(text.slice(0, end)) as { type: string; object: Watched };
            text = text.slice(end + 1);
            if (type === 'ERROR') this.#broken = new Error(`The watch of ${path} ended: ${JSON.stringify(object)}`);
            else take(type, object);
          }
          const waiting = this.#tell;
          this.#tell = [];
          for (const tell of waiting) tell();
        });
        // Ended by `close`; whoever waits for an event that does not come is told by the time limit.
        response.on('error', () => undefined);
        resolve();
      });
      request.on('error', reject);
      request.end();
      this.#requests.push(request);
    });
  }
}
