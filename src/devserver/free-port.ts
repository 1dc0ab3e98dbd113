import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { once } from 'node:events';
import { hasCode } from './error-code';

/** Ports given out by this process, so that two calls before the first port is in use never get the same one. */
const given = new Set<number>();

/**
 * A TCP port of the loopback interface that nobody listens on. Between this call and the caller's use of it another
 * process could take it; to make that unlikely the port is left in TIME_WAIT, in which the kernel gives it to nobody
 * who asks for any port, while it can still be asked for by number.
 */
export async function freePort(ip = '127.0.0.1'): Promise<number> {
  const server = createServer();
  server.listen(0, ip);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  const client = connect(port, ip);
  const [socket] = (await accepted) as [Socket];
  // The side that closes first is the one that keeps the port in TIME_WAIT.
  socket.end();
  client.resume();
  await once(client, 'close');
  server.close();
  await once(server, 'close');
  if (given.has(port)) return freePort(ip);
  given.add(port);
  return port;
}

/** Whether a server could listen on a port now. */
export async function isPortFree(port: number, ip = '127.0.0.1'): Promise<boolean> {
  const server = createServer();
  const listening = once(server, 'listening');
  server.listen(port, ip);
  try {
    await listening;
  } catch (error) {
    if (hasCode(error, 'EADDRINUSE')) return false;
    throw error;
  }
  server.close();
  await once(server, 'close');
  return true;
}
