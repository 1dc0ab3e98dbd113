import { createServer } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, ReleaseError } from '../errors';

export interface HealthServer {
  readonly url: string;
  close(): Promise<void>;
}

export interface HealthServerOptions {
  readonly port: number;
  readonly host: string;
  /** The worker's state as the SDK names it; `RUNNING` is healthy. */
  readonly state: () => string;
  /** Where the SDK's own exporter answers; null when it is off. */
  readonly runtimeMetricsUrl: string | null;
  /** Our own, in Prometheus' text format. */
  readonly ownMetrics: () => string;
}

/** `/healthz` for the process, `/readyz` for a worker that takes tasks, `/metrics` for Prometheus. */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    answer(options, request).then(
      ({ status, type, body }) => response.writeHead(status, { 'Content-Type': type }).end(body),
      (error: unknown) => response.writeHead(500, { 'Content-Type': JSON_TYPE }).end(problem(messageOf(error))),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(
        new ReleaseError(
          'usage',
          `The health endpoints cannot listen on ${options.host}:${options.port}: ${cause.message}`,
          {
            hint: 'Choose another port with --health-port; 0 takes a free one.',
            cause,
          },
        ),
      );
    });
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${options.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}

const JSON_TYPE = 'application/json';

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function answer(options: HealthServerOptions, request: IncomingMessage): Promise<Answer> {
  // Not by URL, which takes a path like `//` for a host.
  const [pathname = '/'] = (request.url ?? '/').split('?');
  const state = options.state();
  switch (pathname) {
    case '/healthz':
      return health(state !== 'FAILED' && state !== 'STOPPED', state);
    case '/readyz':
      return health(state === 'RUNNING', state);
    case '/metrics':
      return metrics(options);
    default:
      return {
        status: 404,
        type: JSON_TYPE,
        body: problem(`There is no ${pathname}; there are /healthz, /readyz and /metrics.`),
      };
  }
}

function health(well: boolean, state: string): Answer {
  return { status: well ? 200 : 503, type: JSON_TYPE, body: `${JSON.stringify({ state })}\n` };
}

/** The SDK's exporter listens on a port of its own; people scrape one. */
async function metrics({ runtimeMetricsUrl: url, ownMetrics }: HealthServerOptions): Promise<Answer> {
  if (url === null) return { status: 404, type: JSON_TYPE, body: problem('Metrics are off in this process.') };
  const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
  const sdk = await response.text();
  const body = response.ok ? `${sdk}${sdk.endsWith('\n') || sdk === '' ? '' : '\n'}${ownMetrics()}` : sdk;
  return { status: response.status, type: 'text/plain; version=0.0.4; charset=utf-8', body };
}

function problem(sentence: string): string {
  return `${JSON.stringify({ error: sentence })}\n`;
}
