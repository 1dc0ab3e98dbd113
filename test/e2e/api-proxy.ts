import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ApiServer } from '../../src/targets/kubernetes/api-http';
import { loadApiServer } from '../../src/targets/kubernetes/kube-config';

/** A request of a worker to the API server, and what became of it. */
export interface SeenRequest {
  readonly method: string;
  /** Without its query. */
  readonly path: string;
  /** Begins with "?", or is empty. */
  readonly query: string;
  readonly body: string;
  /** Null until there is an answer, and for a request that was never let through. */
  status: number | null;
}

/** What happens to a request: it is let through, now or when the promise settles, or its connection is broken. */
export type Fate = 'pass' | 'break';

/**
 * Stands between a worker and the API server: a test sees each request, and can hold it, or its answer, where a network
 * or a stopped process would. It lets itself in with the credentials of the kubeconfig it was made from.
 */
export class ApiProxy {
  readonly requests: SeenRequest[] = [];
  /** Before a request is let through. */
  before: (request: SeenRequest) => Fate | Promise<Fate> = () => 'pass';
  /** Before its answer is given. */
  after: (request: SeenRequest) => void | Promise<void> = () => undefined;
  readonly #api: ApiServer;
  readonly #server: Server;
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-'));

  private constructor(kubeconfig: string) {
    this.#api = loadApiServer({ kubeconfig });
    this.#server = createServer((request, response) => {
      // What goes wrong on the way is a broken connection, as it would be without a proxy.
      this.#pass(request, response).catch(() => response.destroy());
    });
  }

  static async start(kubeconfig: string): Promise<ApiProxy> {
    const proxy = new ApiProxy(kubeconfig);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    const { port } = proxy.#server.address() as AddressInfo;
    const cluster = { server: `http://127.0.0.1:${port}`, 'insecure-skip-tls-verify': true };
    const document = {
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [{ name: 'proxy', cluster }],
      users: [{ name: 'nobody', user: {} }],
      contexts: [{ name: 'proxy', context: { cluster: 'proxy', user: 'nobody' } }],
      'current-context': 'proxy',
    };
    writeFileSync(proxy.kubeconfig, JSON.stringify(document));
    return proxy;
  }

  /** For the worker. */
  get kubeconfig(): string {
    return join(this.#folder, 'kubeconfig');
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '' } = request;
    const { pathname: path, search: query } = new URL(url, this.#api.url);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const seen: SeenRequest = { method, path, query, body: Buffer.concat(chunks).toString(), status: null };
    this.requests.push(seen);
    if ((await this.before(seen)) === 'break') {
      response.destroy();
      return;
    }
    const answer = await this.#forward(seen, request.headers);
    seen.status = answer.status;
    await this.after(seen);
    response.writeHead(answer.status, answer.headers).end(answer.body);
  }

  async #forward(
    { method, path, query, body }: SeenRequest,
    given: IncomingMessage['headers'],
  ): Promise<{ status: number; headers: IncomingMessage['headers']; body: Buffer }> {
    const { headers, tls } = await this.#api.access();
    const url = new URL(`${path}${query}`, this.#api.url);
    const { host: _host, connection: _connection, ...kept } = given;
    const options = { method, headers: { ...kept, ...headers } };
    return new Promise((resolve, reject) => {
      const done = (answer: IncomingMessage): void => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk)).once('error', reject);
        answer.once('end', () => {
          const { 'transfer-encoding': _encoding, connection: _kept, ...rest } = answer.headers;
          resolve({ status: answer.statusCode ?? 502, headers: rest, body: Buffer.concat(chunks) });
        });
      };
      const outgoing =
        url.protocol === 'https:' ? httpsRequest(url, { ...options, ...tls }, done) : httpRequest(url, options, done);
      outgoing.once('error', reject);
      outgoing.end(body);
    });
  }
}
