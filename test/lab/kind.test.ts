import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { canUseKind, findKindLab, isKindBegun, kindDown, kindUp } from './kind';
import { kindManifests } from './kind-manifests';
import { definitionsFolder } from './parts';
import { IMAGES } from './shop-images';

/** Each command is a process of its own. */
jest.setTimeout(120_000);

const CLUSTER = 'sluice-lab';
const REGISTRY = 'sluice-lab-registry';

/** What a program was called with. */
interface Call {
  readonly program: string;
  readonly args: readonly string[];
  readonly input: string;
}

interface Answer {
  readonly code: number;
  readonly output?: string;
}

const OK: Answer = { code: 0 };

/**
 * Stands in for a Docker engine with kind and kubectl: programs on the PATH that hand what they are called with to this
 * process, which keeps clusters and containers, and refuses what a real engine would refuse.
 */
class FakeDocker {
  readonly calls: Call[] = [];
  readonly clusters = new Map<string, Server | null>([['of-mine', null]]);
  readonly containers = new Map<string, Server | null>([[`${REGISTRY}-of-mine`, null]]);
  /** The addresses at which something is to listen. */
  readonly published: string[] = [];
  readonly pushed: string[] = [];
  /** A command that is done and then fails, once. */
  breaks: string | null = null;
  /** No engine answers: neither docker nor kind gets anything done. */
  stopped = false;
  /** What `kind create` was given. */
  readonly configs: ClusterConfig[] = [];
  readonly #server: Server;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#server = createServer((request, response) => {
      void bodyOf(request).then(async (body) => {
        response.end(JSON.stringify(await this.#answer(JSON.parse(body) as Call)));
      });
    });
  }

  static async start(folder: string): Promise<FakeDocker> {
    const fake = new FakeDocker(folder);
    await listen(fake.#server, 0);
    const { port } = fake.#server.address() as AddressInfo;
    const client = join(folder, 'client.cjs');
    writeFileSync(client, clientOf(port));
    for (const program of ['docker', 'kind', 'kubectl', 'go']) {
      const script = `#!/bin/sh\nexec '${process.execPath}' '${client}' ${program} "$@"\n`;
      writeFileSync(join(folder, program), script, { mode: 0o755 });
    }
    return fake;
  }

  /** The commands since a moment, as they are typed, without what belongs to this run. */
  commands(from = 0): string[] {
    return this.calls
      .slice(from)
      .filter(({ program }) => program !== 'go')
      .map(({ program, args }) =>
        [program, ...args]
          .join(' ')
          .replaceAll(this.#folder, '')
          .replaceAll(/127\.0\.0\.1:\d+/g, '127.0.0.1:PORT'),
      );
  }

  async stop(): Promise<void> {
    const servers = [this.#server, ...this.clusters.values(), ...this.containers.values()];
    await Promise.all(servers.map((server) => (server === null ? null : close(server))));
  }

  async #answer(call: Call): Promise<Answer> {
    this.calls.push(call);
    const { program, args } = call;
    if (this.stopped && program !== 'kubectl') return { code: 1, output: 'Cannot connect to the Docker daemon' };
    const answer = await this.#do(program, args);
    if (this.breaks === null || !`${program} ${args.join(' ')}`.includes(this.breaks)) return answer;
    this.breaks = null;
    return { code: 1, output: 'it was interrupted' };
  }

  async #do(program: string, args: readonly string[]): Promise<Answer> {
    const [first = '', second = ''] = args;
    switch (`${program} ${first}`) {
      case 'docker info':
        return OK;
      case 'go version':
        return { code: 0, output: 'go version go1.99.0 linux/amd64' };
      case 'go build':
        writeFileSync(valueOf(args, '-o'), 'the shop');
        return OK;
      case 'kind create':
        return this.#createCluster(args);
      case 'kind delete':
        return this.#remove(this.clusters, valueOf(args, '--name'), OK);
      case 'docker run':
        return this.#runRegistry(args);
      case 'docker network':
        return this.clusters.has(CLUSTER) && this.containers.has(args.at(-1) ?? '') ? OK : unknown(args);
      case 'docker exec':
        return second === `${CLUSTER}-control-plane` && this.clusters.has(CLUSTER) ? OK : unknown(args);
      case 'docker ps': {
        const name = new RegExp(valueOf(args, '--filter').replace(/^name=/, ''));
        return { code: 0, output: [...this.containers.keys()].filter((one) => name.test(one)).join('\n') };
      }
      case 'docker rm':
        return this.#remove(this.containers, args.at(-1) ?? '', unknown(args));
      case 'kubectl --kubeconfig':
        return existsSync(second) && this.clusters.has(CLUSTER) ? OK : unknown(args);
      default:
        return unknown([program, ...args]);
    }
  }

  async #createCluster(args: readonly string[]): Promise<Answer> {
    const name = valueOf(args, '--name');
    if (this.clusters.has(name))
      return { code: 1, output: `node(s) already exist for a cluster with the name "${name}"` };
    const config = JSON.parse(readFileSync(valueOf(args, '--config'), 'utf8')) as ClusterConfig;
    this.configs.push(config);
    const mappings = config.nodes.flatMap(({ extraPortMappings }) => extraPortMappings);
    this.published.push(...mappings.map(({ listenAddress }) => listenAddress), config.networking.apiServerAddress);
    const prometheus = createServer((_, response) => response.end('ready'));
    await listen(prometheus, mappings.find(({ containerPort }) => containerPort === 30_090)?.hostPort ?? 0);
    this.clusters.set(name, prometheus);
    writeFileSync(valueOf(args, '--kubeconfig'), '{}');
    return OK;
  }

  async #runRegistry(args: readonly string[]): Promise<Answer> {
    const name = valueOf(args, '--name');
    if (this.containers.has(name)) return { code: 125, output: `The container name "/${name}" is already in use` };
    const [address = '', port = '', inside] = valueOf(args, '--publish').split(':');
    if (inside !== '5000' || args.at(-1) !== 'registry:2') return unknown(args);
    this.published.push(address);
    const registry = createServer(registryOf(this.pushed));
    await listen(registry, Number(port));
    this.containers.set(name, registry);
    return OK;
  }

  async #remove(from: Map<string, Server | null>, name: string, absent: Answer): Promise<Answer> {
    if (!from.has(name)) return absent;
    const server = from.get(name) ?? null;
    from.delete(name);
    if (server !== null) await close(server);
    return OK;
  }
}

interface ClusterConfig {
  readonly networking: { readonly apiServerAddress: string };
  readonly nodes: readonly {
    readonly extraPortMappings: readonly {
      readonly containerPort: number;
      readonly hostPort: number;
      readonly listenAddress: string;
    }[];
  }[];
}

describe('the lab by kind, with programs that stand for Docker, kind and kubectl', () => {
  const before = { PATH: process.env['PATH'], SLUICE_CACHE: process.env['SLUICE_CACHE'] };
  let folder: string;
  let docker: FakeDocker;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-kind-'));
    docker = await FakeDocker.start(folder);
    process.env['PATH'] = [folder, before.PATH].join(delimiter);
    process.env['SLUICE_CACHE'] = join(folder, 'cache');
    mkdirSync(definitionsFolder(), { recursive: true });
  });

  afterEach(async () => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
    await docker.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const KUBECONFIG = '/cache/lab/kind/kubeconfig';
  const TAKEN_DOWN = [
    `kind delete cluster --name ${CLUSTER} --kubeconfig ${KUBECONFIG}`,
    `docker ps --all --quiet --filter name=^${REGISTRY}$`,
  ];
  const REMOVED = `docker rm --force --volumes ${REGISTRY}`;

  it('is for a machine on which an engine answers', async () => {
    const usable = await canUseKind();
    docker.breaks = 'docker info';

    expect([usable, await canUseKind()]).toEqual([true, false]);
    expect(isKindBegun()).toBe(false);
  });

  it('makes the cluster, then its registry, then the programs, and nothing that other machines could reach', async () => {
    const lab = await kindUp();

    const kubectl = `kubectl --kubeconfig ${KUBECONFIG}`;
    const definitions = definitionsFolder().replace(folder, '');
    const apply = `${kubectl} apply --server-side -f`;
    const hosts = '/etc/containerd/certs.d/127.0.0.1:PORT';
    expect(docker.commands()).toEqual([
      ...TAKEN_DOWN,
      `kind create cluster --name ${CLUSTER} --config /cache/lab/kind/cluster.json --kubeconfig ${KUBECONFIG}`,
      `docker run --detach --name ${REGISTRY} --publish 127.0.0.1:PORT:5000 registry:2`,
      `docker network connect kind ${REGISTRY}`,
      `docker exec ${CLUSTER}-control-plane sh -c mkdir -p ${hosts} && echo '[host."http://${REGISTRY}:5000"]' > ${hosts}/hosts.toml`,
      ...['gateway-api', 'traefik', 'monitoring'].map((group) => `${apply} ${definitions}/${group}`),
      `${kubectl} wait --for=condition=Established --timeout=60s crd --all`,
      ...kindManifests().map(() => `${apply} -`),
      `${kubectl} rollout status deployment -n sluice-lab --timeout=300s`,
    ]);
    expect(docker.published).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1', '127.0.0.1']);
    expect([lab.gatewayUrl, lab.prometheusUrl, `http://${lab.registry}`]).toEqual(
      Array.from({ length: 3 }, () => expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/) as string),
    );
    expect(
      docker.configs[0]?.nodes[0]?.extraPortMappings.map(({ hostPort }) => `http://127.0.0.1:${hostPort}`),
    ).toEqual([lab.gatewayUrl, lab.prometheusUrl]);
    const applied = docker.calls.filter(({ input }) => input !== '').map(({ input }) => JSON.parse(input) as unknown);
    expect(applied).toEqual(kindManifests());
    expect(docker.pushed).toEqual(IMAGES.map(({ name }) => name));
    expect(findKindLab()).toEqual(lab);
  });

  it('is there already the second time, and is not touched', async () => {
    const lab = await kindUp();
    const until = docker.calls.length;

    expect(await kindUp()).toEqual(lab);
    expect(docker.commands(until)).toEqual([]);
  });

  it('is taken down whole, and nothing else with it', async () => {
    await kindUp();
    const until = docker.calls.length;
    await kindDown();
    const down = docker.commands(until);
    await kindDown();

    expect(down).toEqual([...TAKEN_DOWN, REMOVED]);
    expect([...docker.clusters.keys(), ...docker.containers.keys()]).toEqual(['of-mine', `${REGISTRY}-of-mine`]);
    expect([findKindLab(), isKindBegun()]).toEqual([undefined, false]);
    // What was built stays in the cache.
    expect(existsSync(definitionsFolder())).toBe(true);
  });

  it.each([
    ['while kind makes the cluster', 'kind create cluster'],
    ['while the registry is begun', 'docker run'],
    ['while the programs are installed', 'crd --all'],
  ])('that was interrupted %s is no lab, and the next up makes it anew', async (_, command) => {
    docker.breaks = command;
    await expect(kindUp()).rejects.toThrow(/it was interrupted/);
    const half = [findKindLab(), isKindBegun(), docker.clusters.has(CLUSTER)];
    const hadRegistry = docker.containers.has(REGISTRY);
    const until = docker.calls.length;
    const lab = await kindUp();

    expect(half).toEqual([undefined, true, true]);
    const removed = [...TAKEN_DOWN, ...(hadRegistry ? [REMOVED] : [])];
    expect(docker.commands(until).slice(0, removed.length + 1)).toEqual([
      ...removed,
      expect.stringMatching(/^kind create cluster /),
    ]);
    expect([...docker.clusters.keys()]).toEqual(['of-mine', CLUSTER]);
    expect([...docker.containers.keys()]).toEqual([`${REGISTRY}-of-mine`, REGISTRY]);
    expect(findKindLab()).toEqual(lab);
  });

  it('that was interrupted is taken away by down', async () => {
    docker.breaks = 'docker network connect';
    await expect(kindUp()).rejects.toThrow(/it was interrupted/);
    const begun = isKindBegun();
    await kindDown();

    expect(begun).toBe(true);
    expect([...docker.clusters.keys(), ...docker.containers.keys()]).toEqual(['of-mine', `${REGISTRY}-of-mine`]);
    expect(isKindBegun()).toBe(false);
  });

  it.each([
    ['kind has gone', 'there is no kind on the PATH', 'kind'],
    ['Docker has gone', 'there is no docker on the PATH', 'docker'],
    ['the engine has stopped', 'no Docker engine answers (docker info)', null],
  ])('of which nothing can be taken away, because %s, says so and holds up nothing', async (_, lack, program) => {
    docker.breaks = 'crd --all';
    await expect(kindUp()).rejects.toThrow(/it was interrupted/);
    // What the machine itself has of these programs is not to stand in.
    process.env['PATH'] = folder;
    const hidden = join(folder, 'hidden');
    if (program === null) docker.stopped = true;
    else renameSync(join(folder, program), hidden);

    const failure = await kindDown().catch((error: unknown) => error);
    const usable = await canUseKind();
    const [lab, begun] = [findKindLab(), isKindBegun()];
    if (program === null) docker.stopped = false;
    else renameSync(hidden, join(folder, program));
    await kindDown();

    expect(failure).toMatchObject({
      code: 'unreachable',
      message: `What kind made for the lab cannot be taken away: ${lack}.`,
      hint: expect.stringContaining(`docker rm --force --volumes ${CLUSTER}-control-plane ${REGISTRY}`) as string,
    });
    // So `up` goes the other way, nothing takes this for a lab, and `down` knows that there is something left.
    expect([usable, lab, begun]).toEqual([false, undefined, true]);
    expect([...docker.clusters.keys(), ...docker.containers.keys()]).toEqual(['of-mine', `${REGISTRY}-of-mine`]);
    expect(isKindBegun()).toBe(false);
  });
});

function unknown(args: readonly string[]): Answer {
  return { code: 1, output: `there is nothing for: ${args.join(' ')}` };
}

function valueOf(args: readonly string[], option: string): string {
  const value = args[args.indexOf(option) + 1];
  if (!args.includes(option) || value === undefined) throw new Error(`${args.join(' ')} has no ${option}`);
  return value;
}

/** What each of the programs does: it asks the test what to answer. */
function clientOf(port: number): string {
  return `
const { readFileSync } = require('node:fs');
const { request } = require('node:http');
const [program, ...args] = process.argv.slice(2);
const asked = request({ host: '127.0.0.1', port: ${port}, method: 'POST' }, async (response) => {
  let text = '';
  for await (const chunk of response) text += chunk;
  const { code, output = '' } = JSON.parse(text);
  process.stdout.write(output);
  process.exitCode = code;
});
asked.end(JSON.stringify({ program, args, input: readFileSync(0, 'utf8') }));
`;
}

/** As much of a registry as a push needs; notes the names with their tags. */
function registryOf(pushed: string[]): RequestListener {
  return (request, response) => {
    const { method, url = '' } = request;
    const [, repository, tag] = /^\/v2\/(.+)\/manifests\/(.+)$/.exec(url) ?? [];
    if (method === 'PUT' && repository !== undefined) pushed.push(`${repository}:${tag ?? ''}`);
    if (method === 'POST') response.setHeader('location', url);
    response.statusCode = method === 'HEAD' ? 404 : 200;
    request.resume().once('end', () => response.end());
  };
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  return text;
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
