import { Client, credentials, Metadata, status as GrpcStatus } from '@grpc/grpc-js';
import type { Answer } from './shop';

/** The method that `shop/grpc.go` has; both its messages are empty ones. */
const BROWSE = '/shop.Shop/Browse';
const EMPTY = Buffer.alloc(0);

/** What a call by gRPC came to. */
export interface GrpcAnswer extends Answer {
  /** As for a request by HTTP: 200 where gRPC's own status is OK, 500 where the shop gave another, 0 where nobody did. */
  readonly status: number;
  /** gRPC's own status and its message; null where it is OK. */
  readonly problem: string | null;
}

/** Somebody who speaks gRPC with the shop through the gateway, over one connection that is kept, as gRPC's clients do. */
export class GrpcCaller {
  readonly #client: Client;

  /** @param url of the gateway, which leads by `host` */
  constructor(url: string, host: string) {
    const { hostname, port } = new URL(url);
    this.#client = new Client(`${hostname}:${port === '' ? 80 : port}`, credentials.createInsecure(), {
      'grpc.default_authority': host,
      // A call that was refused or lost is to be seen: by itself the client would send some of them once more.
      'grpc.enable_retries': 0,
    });
  }

  browse(headers: Readonly<Record<string, string>> = {}): Promise<GrpcAnswer> {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    return new Promise((resolve) => {
      let version: string | undefined;
      const same = (message: Buffer): Buffer => message;
      const deadline = Date.now() + 10_000;
      const call = this.#client.makeUnaryRequest(BROWSE, same, same, EMPTY, metadata, { deadline }, (error) => {
        if (error === null) resolve({ status: 200, version, problem: null });
        else {
          const problem = `${GrpcStatus[error.code]}: ${error.details}`;
          resolve({ status: version === undefined ? 0 : 500, version, problem });
        }
      });
      call.once('metadata', (answered: Metadata) => {
        const [value] = answered.get('x-version');
        if (typeof value === 'string') version = value;
      });
    });
  }

  close(): void {
    this.#client.close();
  }
}
