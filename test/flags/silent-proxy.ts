import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** A proxy whose connections can be lost without a word, as a firewall loses those that it has forgotten. */
export interface SilentProxy {
  readonly url: string;
  /** Connections that were made so far. */
  readonly opened: number;
  /** Those that are open stay open and carry nothing any more; new ones work. */
  silence(): void;
  close(): Promise<void>;
}

/** In front of what listens at a `redis://` address. */
export async function startSilentProxy(target: string): Promise<SilentProxy> {
  const { hostname, port } = new URL(target);
  const ends = new Set<Socket>();
  let opened = 0;
  const server = createServer((client) => {
    opened += 1;
    const upstream = connect(Number(port), hostname);
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      ends.add(one);
      one.on('data', (data) => other.write(data));
      one.on('error', () => one.destroy());
      one.on('close', () => {
        ends.delete(one);
        other.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get opened() {
      return opened;
    },
    silence: () => {
      for (const end of ends) end.removeAllListeners('data').resume();
    },
    close: async () => {
      for (const end of ends) end.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
