import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

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
}

/** `/healthz` for the process, `/readyz` for a worker that takes tasks. */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? '/', 'http://worker').pathname;
    const state = options.state();
    if (path === '/healthz' || path === '/readyz') {
      const well = path === '/healthz' ? state !== 'FAILED' && state !== 'STOPPED' : state === 'RUNNING';
      response.writeHead(well ? 200 : 503, { 'Content-Type': 'application/json' });
      response.end(`${JSON.stringify({ state })}\n`);
      return;
    }
    response.writeHead(404, { 'Content-Type': 'application/json' });
    response.end(`${JSON.stringify({ error: `There is no ${path}; try /healthz or /readyz.` })}\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
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
