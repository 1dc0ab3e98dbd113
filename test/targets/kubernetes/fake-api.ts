import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ApiServer } from '../../../src/targets/kubernetes/api-http';

export type Handler = (request: IncomingMessage, response: ServerResponse, body: string) => void;

/** An HTTP server on loopback that answers as it is told: one handler a request, the last one for all that follow. */
export class FakeApi {
  readonly requests: { method: string; url: string; headers: IncomingMessage['headers']; body: string }[] = [];
  connections = 0;
  handlers: Handler[] = [];
  readonly #server: Server;

  constructor() {
    const listener: RequestListener = (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        this.requests.push({ method, url, headers, body });
        const handler = this.handlers.length > 1 ? this.handlers.shift() : this.handlers[0];
        handler?.(request, response, body);
      });
    };
    this.#server = createServer(listener).on('connection', () => (this.connections += 1));
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get server(): ApiServer {
    return {
      url: this.url,
      namespace: 'default',
      access: () =>
        Promise.resolve({ headers: { Authorization: 'Bearer the-secret-token' }, tls: {}, proxyAgent: undefined }),
    };
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

export function answer(status: number, json: unknown, headers: Record<string, string> = {}): Handler {
  return (_request, response) => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(json));
  };
}

/** Kubernetes' own words for an error. */
export function status(code: number, reason: string, message: string, details: unknown = {}): Handler {
  return answer(code, { kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, details, code });
}

export const reset: Handler = (request) => {
  request.socket.destroy();
};

export const hang: Handler = () => undefined;

/** Half of a document, though the header promises the whole. */
export const cutShort: Handler = (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': '5000' });
  response.write('{"apiVersion":"v1","ki', () => response.socket?.destroy());
};
