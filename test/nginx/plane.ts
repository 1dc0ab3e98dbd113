import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { get } from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/devserver/free-port';
import type { Cluster } from '../../src/targets/kubernetes/cluster';
import { answers, until } from '../lab/processes';
import type { Nginx } from '../lab/parts';
import { digestOf, READY_PATH, renderNginx } from './render';
import type { NginxInput } from './render';

/** Between two looks at the objects: about as long as ingress-nginx collects changes. */
const LOOK_EVERY_MS = 250;

/** A real nginx on loopback that serves what Ingresses say. */
export class NginxPlane {
  readonly url: string;
  readonly #child: ChildProcess;
  readonly #gone: Promise<unknown>;
  readonly #place: { readonly port: number; readonly folder: string };
  #text: string;

  private constructor(child: ChildProcess, place: { readonly port: number; readonly folder: string }, text: string) {
    this.#child = child;
    this.#gone = once(child, 'exit');
    this.#place = place;
    this.#text = text;
    this.url = `http://127.0.0.1:${place.port}`;
  }

  static async start(nginx: Nginx, input: NginxInput): Promise<NginxPlane> {
    const place = { port: await freePort(), folder: await mkdtemp(join(tmpdir(), 'sluice-nginx-')) };
    const text = renderNginx(input, place);
    const file = join(place.folder, 'nginx.conf');
    await writeFile(file, text);
    const child = spawn(nginx.program, ['-p', place.folder, '-c', file, '-e', join(place.folder, 'error.log')], {
      stdio: 'ignore',
      env: { ...process.env, LD_LIBRARY_PATH: nginx.libraries },
    });
    const plane = new NginxPlane(child, place, text);
    try {
      await until('nginx answers', async () => {
        if (child.exitCode !== null) throw new Error(`nginx ended: ${await plane.words()}`);
        return answers(`${plane.url}${READY_PATH}`);
      });
    } catch (error) {
      await plane.stop();
      throw error;
    }
    return plane;
  }

  /** Takes the objects as they are now; nginx turns to a changed configuration without dropping a request. */
  async serve(input: NginxInput): Promise<void> {
    const text = renderNginx(input, this.#place);
    if (text === this.#text) return;
    await writeFile(join(this.#place.folder, 'nginx.conf'), text);
    const old = await this.#workers();
    this.#child.kill('SIGHUP');
    this.#text = text;
    await this.#serves(digestOf(input), old);
  }

  /** A new worker answers, and none of the old ones takes a connection any more: they say so in their title, or are gone. */
  async #serves(digest: string, old: readonly string[]): Promise<void> {
    await until('nginx serves its new configuration', async () => {
      if ((await this.#says()) !== digest) return false;
      const titles = await Promise.all(old.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null)));
      return titles.every((title) => title === null || title.includes('shutting down'));
    });
  }

  /** The processes that answer, by their ids. */
  async #workers(): Promise<readonly string[]> {
    const { pid } = this.#child;
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return children.split(' ').filter((id) => id.trim() !== '');
  }

  /** Over a connection of its own. */
  #says(): Promise<string> {
    return new Promise((resolve, reject) => {
      get(`${this.url}${READY_PATH}`, { agent: false }, (response) => {
        let body = '';
        response.on('data', (chunk: Buffer) => (body += chunk.toString()));
        response.once('end', () => resolve(body));
      }).once('error', reject);
    });
  }

  /** Serves what a namespace's objects say, until the returned function is called. */
  follow(cluster: Cluster, namespace: string): () => Promise<void> {
    const over = new AbortController();
    const following = (async (): Promise<void> => {
      while (!over.signal.aborted) {
        // A cluster that does not answer changes nothing: what was served is served on.
        const input = await readInput(cluster, namespace, over.signal).catch(() => null);
        if (input !== null) await this.serve(input);
        await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      }
    })();
    return async () => {
      over.abort();
      await following;
    };
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill('SIGTERM');
      await this.#gone;
    }
    await rm(this.#place.folder, { recursive: true, force: true });
  }

  /** What nginx has complained of. */
  words(): Promise<string> {
    return readFile(join(this.#place.folder, 'error.log'), 'utf8').catch(() => '');
  }
}

export async function readInput(cluster: Cluster, namespace: string, signal: AbortSignal): Promise<NginxInput> {
  const limit = { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) };
  const [ingresses, services, endpointSlices] = await Promise.all([
    cluster.list({ apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', namespace }, limit),
    cluster.list({ apiVersion: 'v1', kind: 'Service', namespace }, limit),
    cluster.list({ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', namespace }, limit),
  ]);
  return { ingresses, services, endpointSlices };
}
