import { connect } from 'node:net';

const ANSWER_WITHIN_MS = 1000;

/** Whether something listens at `host:port`; `unknown` when that is not known within a second. */
export function probe(address: string): Promise<'listening' | 'refused' | 'unknown'> {
  return new Promise((resolve) => {
    let url: URL;
    try {
      url = new URL(`tcp://${address}`);
    } catch {
      return resolve('unknown');
    }
    const { hostname, port } = url;
    // No port: an address of another form than ours to judge.
    if (port === '') return resolve('unknown');
    const host = hostname.replace(/^\[|\]$/gu, '');
    const socket = connect({ host, port: Number(port), timeout: ANSWER_WITHIN_MS });
    const done = (answer: 'listening' | 'refused' | 'unknown'): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => done('listening'));
    socket.once('timeout', () => done('unknown'));
    socket.once('error', (error: NodeJS.ErrnoException) => done(error.code === 'ECONNREFUSED' ? 'refused' : 'unknown'));
  });
}
