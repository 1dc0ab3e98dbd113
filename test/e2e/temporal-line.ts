import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createHttp2Server } from 'node:http2';
import type { Http2Server } from 'node:http2';

/** gRPC's PERMISSION_DENIED: the caller does not try again. */
const DENIED = { ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '7' } as const;

/**
 * A worker's line to Temporal. Once it is cut, nothing reaches Temporal, and nothing that Temporal says comes back. But
 * heartbeats are refused: an attempt of which a heartbeat stays without an answer is ended by the SDK itself, its heartbeat
 * timeout and five seconds later.
 */
export class TemporalLine {
  readonly #server: Server;
  readonly #cutOff: Http2Server;
  readonly #sockets = new Set<Socket>();
  #isCut = false;

  private constructor(host: string, port: number) {
    this.#cutOff = createHttp2Server();
    this.#cutOff.on('stream', (stream, { ':path': path = '' }) => {
      stream.on('error', () => undefined);
      if (path.endsWith('/RecordActivityTaskHeartbeat')) stream.respond(DENIED, { endStream: true });
    });
    this.#server = createServer((near) => {
      this.#keep(near);
      if (this.#isCut) {
        this.#cutOff.emit('connection', near);
        return;
      }
      const far = connect(port, host);
      this.#keep(far);
      near.once('close', () => far.destroy());
      far.once('close', () => near.destroy());
      near.pipe(far).pipe(near);
    });
  }

  /** `to` is `host:port`. */
  static async start(to: string): Promise<TemporalLine> {
    const [host = '', port = ''] = to.split(':');
    const line = new TemporalLine(host, Number(port));
    await new Promise<void>((resolve) => line.#server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  cut(): void {
    this.#isCut = true;
    this.#breakAll();
  }

  mend(): void {
    this.#isCut = false;
    this.#breakAll();
  }

  async stop(): Promise<void> {
    this.#breakAll();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    socket.once('close', () => this.#sockets.delete(socket));
  }

  #breakAll(): void {
    for (const socket of this.#sockets) socket.destroy();
  }
}
