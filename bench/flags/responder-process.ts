import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';

/** As long as the service's own answer to a check. */
const BODY = JSON.stringify({
  flag: 'new-checkout',
  user_id: 'user-1000',
  enabled: false,
  reason: 'percentage',
  environment: 'production',
  variant: 'off',
  value: false,
});
const HEAD = { 'content-type': 'application/json; charset=utf-8', 'content-length': BODY.length };
const WHOLE = Buffer.from(
  `HTTP/1.1 200 OK\r\ncontent-type: ${HEAD['content-type']}\r\ncontent-length: ${BODY.length}\r\n\r\n${BODY}`,
);

/**
 * Answers every request alike without looking at it, over a plain socket (`net`) or by Node's own server (`http`): what
 * this machine and the load generator leave to any service. Its parent ends it by disconnecting.
 */
function respond(kind: string | undefined): Server {
  if (kind === 'http') {
    return createHttpServer((request, response) => {
      request.on('data', () => undefined);
      request.on('end', () => response.writeHead(200, HEAD).end(BODY, 'latin1'));
    });
  }
  // A request of the load comes in one piece, and the next one after its answer.
  return createServer({ noDelay: true }, (socket) => {
    socket.on('data', () => socket.write(WHOLE));
    socket.on('error', () => socket.destroy());
  });
}

const server = respond(process.argv[2]);
server.listen(0, '127.0.0.1', () => {
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
process.once('disconnect', () => process.exit(0));
