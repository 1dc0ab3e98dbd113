import { readFileSync } from 'node:fs';
import { createSecureServer, constants } from 'node:http2';
import type { Http2SecureServer, ServerHttp2Session, ServerHttp2Stream, SecureServerOptions } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { ApiHttpFailure } from '../../../src/targets/kubernetes/api-http';
import type { ApiServer } from '../../../src/targets/kubernetes/api-http';
import { ApiWatch } from '../../../src/targets/kubernetes/api-watch';
import type { ApiWatchOptions, OpenWatch, WatchOpening } from '../../../src/targets/kubernetes/api-watch';
import { loadApiServer } from '../../../src/targets/kubernetes/kube-config';
import { RequestCounter } from '../../../src/targets/kubernetes/request-counter';
import { watchObjects } from '../../../src/targets/kubernetes/watched-objects';
import { describeWithApiServer, until } from './api-server';
import { Line } from './line';

const signal = AbortSignal.timeout(10 * 60_000);
const options = { signal };
const ref = { apiVersion: 'v1', kind: 'ServiceAccount', namespace: 'default', name: 'watched' };

describeWithApiServer('the transport of watches', (server) => {
  const admin = (): ApiServer => loadApiServer({ kubeconfig: server().kubeconfig, context: 'admin' });

  describe('over a line to a real API server', () => {
    let line: Line;

    beforeEach(async () => {
      line = await new Line(Number(new URL(admin().url).port)).start();
      const hand = server().connect();
      await hand.apply({ ...kindOf(ref), metadata: { name: ref.name, namespace: ref.namespace } }, options);
      hand.close();
    });

    afterEach(() => line.stop());

    /** By way of the line. */
    function worker(watch: ApiWatchOptions = {}): {
      counter: RequestCounter;
      cluster: ReturnType<typeof watchObjects>;
    } {
      const counter = new RequestCounter();
      const through = { ...admin(), url: line.url };
      return { counter, cluster: watchObjects(server().connect({ server: through, counter, watch })) };
    }

    async function mark(value: string): Promise<void> {
      const hand = server().connect();
      await hand.patch(ref, { type: 'merge', patch: { metadata: { annotations: { value } } } }, options);
      hand.close();
    }

    it('what another client writes is told, and no request is made for it', async () => {
      const { counter, cluster } = worker();
      const valueNow = async (): Promise<string | undefined> =>
        (await cluster.find(ref, options))?.metadata.annotations?.['value'];
      await valueNow();
      for (const value of ['one', 'two']) {
        await mark(value);
        await until(async () => (await valueNow()) === value);
      }
      const hand = server().connect();
      await hand.delete(ref, options);
      hand.close();
      await until(async () => (await cluster.find(ref, options)) === null);

      const asked = counter.snapshot().map(({ verb, resource, status, count }) => [verb, resource, status, count]);
      expect(asked).toEqual([
        ['list', 'serviceaccounts', '200', 1],
        ['watch', 'serviceaccounts', '200', 1],
      ]);
      expect(counter.openWatches()).toBe(1);
      cluster.close();
      expect(counter.openWatches()).toBe(0);
    });

    it.each(['is cut', 'falls silent'])('a line that %s ends its watches, and the next read asks', async (how) => {
      // Sooner than in earnest, and late enough for a machine that has much to do.
      const { counter, cluster } = worker({ pingEveryMs: 1_000, pongWithinMs: 2_000 });
      await cluster.find(ref, options);
      await cluster.find(ref, options);
      expect(counter.openWatches()).toBe(1);
      if (how === 'is cut') line.cut();
      else line.freeze();
      await until(() => Promise.resolve(counter.openWatches() === 0));
      line.thaw();
      line.cut();
      await mark(how);
      const found = await cluster.find(ref, options);
      await cluster.find(ref, options);

      expect(found?.metadata.annotations?.['value']).toBe(how);
      expect(counter.openWatches()).toBe(1);
      cluster.close();
    });

    it('one line carries the watches of many objects', async () => {
      const { counter, cluster } = worker();
      const refs = Array.from({ length: 20 }, (_, index) => ({ ...ref, name: `other-${index}` }));
      await Promise.all(refs.map((each) => cluster.find(each, options)));
      await Promise.all(refs.map((each) => cluster.find(each, options)));
      expect(counter.openWatches()).toBe(20);
      const before = line.connections;
      line.cut();
      await until(() => Promise.resolve(counter.openWatches() === 0));
      await cluster.find(ref, options);
      await cluster.find(ref, options);

      // One for reads that are kept or were, and one for all watches.
      expect(before).toBeLessThanOrEqual(21);
      cluster.close();
    });
  });

  describe('to a server in the hands of a test', () => {
    let streams: ServerHttp2Stream[];
    let sessions: ServerHttp2Session[];
    let fake: Http2SecureServer | null = null;
    let watches: ApiWatch | null = null;
    let tokens: string[];

    const certificates = (): { key: Buffer; cert: Buffer } => {
      const folder = join(dirname(server().kubeconfig), 'certificates');
      return {
        key: readFileSync(join(folder, 'apiserver.key')),
        cert: readFileSync(join(folder, 'apiserver.crt')),
      };
    };

    afterEach(async () => {
      watches?.close();
      for (const session of sessions) session.destroy();
      await new Promise<void>((resolve) => (fake === null ? resolve() : fake.close(() => resolve())));
      fake = null;
    });

    beforeEach(() => {
      streams = [];
      sessions = [];
      tokens = [];
    });

    async function start(
      answer: (stream: ServerHttp2Stream) => void,
      settings: SecureServerOptions['settings'] = {},
    ): Promise<number> {
      const made = createSecureServer({ ...certificates(), settings });
      made.on('session', (session) => sessions.push(session.on('error', () => undefined)));
      made.on('stream', (stream, headers) => {
        stream.on('error', () => undefined);
        tokens.push(headers.authorization ?? '');
        streams.push(stream);
        answer(stream);
      });
      await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
      fake = made;
      return (made.address() as AddressInfo).port;
    }

    function serverAt(port: number, access: () => object = () => ({})): ApiServer {
      const { cert } = certificates();
      return {
        url: `https://127.0.0.1:${port}`,
        namespace: 'default',
        access: () =>
          Promise.resolve({
            headers: { Authorization: 'Bearer first' },
            tls: { ca: cert },
            proxyAgent: undefined,
            ...access(),
          }),
      };
    }

    function open(through: ApiWatch, told: unknown[] = []): Promise<WatchOpening> {
      watches = through;
      return through.open({ path: '/watch', onEvent: (event) => told.push(event), onEnd: () => told.push('end') });
    }

    async function opened(through: ApiWatch, told: unknown[] = []): Promise<OpenWatch> {
      const opening = await open(through, told);
      if (opening.kind !== 'open') throw new Error(`It is ${opening.kind}.`);
      return opening.watch;
    }

    const streaming = (stream: ServerHttp2Stream): void => stream.respond({ ':status': 200 });

    it('events are lines, wherever the packets end', async () => {
      const told: unknown[] = [];
      const port = await start(streaming);
      await opened(new ApiWatch(serverAt(port)), told);
      const text = Buffer.from('{"type":"BOOKMARK","by":"é"}\n\n{"type":"ADDED"}\nno JSON\n{"half":');
      const middle = text.indexOf(0xc3) + 1;
      streams[0]?.write(text.subarray(0, middle));
      streams[0]?.write(text.subarray(middle));
      await until(() => Promise.resolve(told.length === 3));
      streams[0]?.end();
      await until(() => Promise.resolve(told.length === 4));

      expect(told).toEqual([{ type: 'BOOKMARK', by: 'é' }, { type: 'ADDED' }, undefined, 'end']);
    });

    it('an event that is too large ends the watch', async () => {
      const told: unknown[] = [];
      const port = await start(streaming);
      const watch = await opened(new ApiWatch(serverAt(port), { maxBytes: 100 }), told);
      streams[0]?.write('x'.repeat(101));
      await until(() => Promise.resolve(told.length === 1));

      expect(told).toEqual(['end']);
      expect(watch.alive()).toBe(false);
    });

    it('an answer that is no stream is the answer', async () => {
      const port = await start((stream) => {
        stream.respond({ ':status': 410 });
        stream.end('{"kind":"Status"}');
      });

      expect(await open(new ApiWatch(serverAt(port)))).toMatchObject({
        kind: 'refused',
        answer: { status: 410, json: { kind: 'Status' } },
      });
    });

    it('a server that says nothing is a timeout, and a port where nobody listens unreachable', async () => {
      const port = await start(() => undefined);
      await expect(open(new ApiWatch(serverAt(port), { openMs: 200 }))).rejects.toMatchObject({ kind: 'timeout' });
      await expect(open(new ApiWatch(serverAt(1)))).rejects.toMatchObject({ kind: 'unreachable' });
    });

    it('credentials are asked for before each watch; another certificate gets another connection', async () => {
      const port = await start(streaming);
      let token = 'first';
      let key: Buffer | null = null;
      const access = (): object => {
        const { cert } = certificates();
        const own = key === null ? {} : { key, cert };
        return { headers: { Authorization: `Bearer ${token}` }, tls: { ca: cert, ...own } };
      };
      const through = new ApiWatch(serverAt(port, access));
      await opened(through);
      token = 'second';
      await opened(through);
      expect(sessions).toHaveLength(1);
      key = certificates().key;
      await opened(through);

      expect(tokens).toEqual(['Bearer first', 'Bearer second', 'Bearer second']);
      expect(sessions).toHaveLength(2);
    });

    it('a connection carries no more watches than the server takes', async () => {
      const port = await start(streaming, { maxConcurrentStreams: 2 });
      const through = new ApiWatch(serverAt(port));
      for (let count = 0; count < 5; count += 1) await opened(through);

      expect(sessions).toHaveLength(3);
    });

    it('one that is to be given up (GOAWAY) keeps its watches and gets no more', async () => {
      const told: unknown[] = [];
      const port = await start(streaming);
      const through = new ApiWatch(serverAt(port));
      const first = await opened(through, told);
      sessions[0]?.goaway(constants.NGHTTP2_NO_ERROR);
      // The frame is on its way: until it is there a watch may still be tried on the old one, which is too late there.
      await until(async () => {
        try {
          await opened(through);
        } catch (error) {
          if (!(error instanceof ApiHttpFailure)) throw error;
        }
        return sessions.length === 2;
      });
      streams[0]?.write('{"type":"BOOKMARK"}\n');
      await until(() => Promise.resolve(told.length === 1));

      expect(first.alive()).toBe(true);
    });

    it('a connection without watches is given up', async () => {
      const port = await start(streaming);
      const watch = await opened(new ApiWatch(serverAt(port), { pingEveryMs: 20, pongWithinMs: 10_000 }));
      let closed = false;
      sessions[0]?.on('close', () => (closed = true));
      watch.close();
      await until(() => Promise.resolve(closed));
    });

    it.each<[string, (port: number) => ApiServer]>([
      ['a proxy in between', (port) => serverAt(port, () => ({ proxyAgent: {} }))],
      ['plain http', (port) => ({ ...serverAt(port), url: `http://127.0.0.1:${port}` })],
      ['a server without HTTP/2', (port) => serverAt(port)],
    ])('there is none by %s', async (_, to) => {
      const old = createHttpsServer(certificates());
      await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
      const opening = await open(new ApiWatch(to((old.address() as AddressInfo).port)));
      await new Promise((resolve) => old.close(resolve));

      expect(opening).toEqual({ kind: 'unsupported' });
    });
  });
});

function kindOf({ apiVersion, kind }: typeof ref): { apiVersion: string; kind: string } {
  return { apiVersion, kind };
}
