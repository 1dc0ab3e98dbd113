import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../../src/devserver/free-port';
import { containerPorts } from './compose-file';
import type { ComposeFile, Service } from './compose-file';
import { argumentToLoopback, toLoopback } from './loopback';

const ROOT = path.join(__dirname, '..', '..');

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface PlainProcessesOptions {
  readonly compose: ComposeFile;
  /** Addresses of services that something else stands for, by `service:port`; nothing of them is started. */
  readonly provided: ReadonlyMap<string, number>;
  /** The executables of this machine for the programs that the compose file's commands and images name. */
  readonly programs: Readonly<Record<string, string>>;
  /** Put before the PATH of the processes. */
  readonly path: readonly string[];
}

/** How long anything may take to become ready; reached only when it never will. */
const READY_WITHIN_MS = 120_000;
const LOOK_AGAIN_MS = 100;
const STOP_WITHIN_MS = 15_000;

/** What images run when a service does not say it; the first is that of our Dockerfile. */
const IMAGE_ENTRYPOINTS: Readonly<Record<string, readonly string[]>> = {
  sluice: ['sluice'],
  'prom/prometheus': ['/bin/prometheus'],
};

/**
 * The services of a compose file as plain processes of this machine: with their own commands, environment, health
 * checks, order and configuration files, in which only the addresses (now ports of 127.0.0.1) and the folders differ.
 */
export class PlainProcesses {
  readonly #options: PlainProcessesOptions;
  readonly #ports: ReadonlyMap<string, number>;
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'sluice-compose-'));
  readonly #running = new Map<string, { child: ChildProcess; words: string[] }>();
  readonly #ready = new Map<string, Promise<void>>();
  readonly #mounts = new Map<string, Map<string, string>>();

  private constructor(options: PlainProcessesOptions, ports: ReadonlyMap<string, number>) {
    this.#options = options;
    this.#ports = ports;
  }

  static async create(options: PlainProcessesOptions): Promise<PlainProcesses> {
    const ports = new Map(options.provided);
    for (const [name, service] of Object.entries(options.compose.services)) {
      for (const port of containerPorts(service)) {
        const address = `${name}:${port}`;
        if (!ports.has(address)) ports.set(address, await freePort());
      }
    }
    return new PlainProcesses(options, ports);
  }

  /** `http://127.0.0.1:…` of a service's port. */
  url(address: string): string {
    const port = this.#ports.get(address);
    if (port === undefined) throw new Error(`${address} is no service's address`);
    return `http://127.0.0.1:${port}`;
  }

  /** What a service has printed so far. */
  words(name: string): string {
    return this.#running.get(name)?.words.join('') ?? '';
  }

  /** Starts a service after what it depends on, and waits until it is healthy or, if it should end, has ended well. */
  async start(name: string): Promise<void> {
    const begun = this.#ready.get(name) ?? this.#start(name);
    this.#ready.set(name, begun);
    await begun;
  }

  async #start(name: string): Promise<void> {
    if ([...this.#options.provided.keys()].some((address) => address.startsWith(`${name}:`))) return;
    const service = this.#service(name);
    await this.#startDependencies(service);
    const child = this.#spawn(name, service, service.command);
    const gone = once(child, 'exit') as Promise<[number | null, string | null]>;
    if (service.restart === 'on-failure') {
      const [code] = await gone;
      if (code !== 0) throw new Error(`${name} ended with ${code}: ${this.words(name)}`);
      return;
    }
    if (service.healthcheck === undefined) return;
    const deadline = Date.now() + READY_WITHIN_MS;
    while (!(await this.#healthy(name, service.healthcheck.test))) {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${name} ended: ${this.words(name)}`);
      if (Date.now() > deadline) throw new Error(`${name} does not become healthy: ${this.words(name)}`);
      await delay(LOOK_AGAIN_MS);
    }
  }

  async #startDependencies(service: Service): Promise<void> {
    for (const dependency of Object.keys(service.depends_on)) await this.start(dependency);
  }

  /** `docker compose run --rm name args…`. */
  async run(name: string, args: readonly string[]): Promise<Outcome> {
    const service = this.#service(name);
    await this.#startDependencies(service);
    const child = this.#spawn(`${name} ${args.join(' ')}`, service, args, name);
    const output = { stdout: '', stderr: '' };
    child.stdout?.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ...output };
  }

  async stop(): Promise<void> {
    for (const { child } of [...this.#running.values()].reverse()) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      const force = setTimeout(() => child.kill('SIGKILL'), STOP_WITHIN_MS);
      await gone;
      clearTimeout(force);
    }
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #service(name: string): Service {
    const service = this.#options.compose.services[name];
    if (service === undefined) throw new Error(`there is no service ${name}`);
    return service;
  }

  #spawn(label: string, service: Service, command: readonly string[], name = label): ChildProcess {
    const [program = '', ...args] = [...entrypointOf(service), ...command].map((argument) => this.#map(name, argument));
    const child = spawn(this.#options.programs[program] ?? program, args, {
      cwd: service.working_dir === undefined ? ROOT : this.#map(name, service.working_dir),
      env: this.#environment(name, service),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const words: string[] = [];
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => words.push(chunk.toString()));
    child.once('error', (error) => words.push(error.message));
    this.#running.set(label, { child, words });
    return child;
  }

  /** The service's own variables, and of ours only what finds programs and folders. */
  #environment(name: string, service: Service): NodeJS.ProcessEnv {
    const kept = ['HOME', 'SLUICE_CACHE', 'XDG_CACHE_HOME', 'TMPDIR'].map((key) => [key, process.env[key]] as const);
    return {
      ...Object.fromEntries(kept.filter(([, value]) => value !== undefined)),
      PATH: [...this.#options.path, process.env['PATH'] ?? ''].join(path.delimiter),
      ...Object.fromEntries(Object.entries(service.environment).map(([key, value]) => [key, this.#map(name, value)])),
    };
  }

  /** An argument or value with this machine's addresses and folders. */
  #map(name: string, text: string): string {
    const folders = this.#folders(name);
    const mounted = [...folders.keys()]
      .sort((a, b) => b.length - a.length)
      .map((folder) => folder.replace(/[.+]/g, '\\$&'));
    const moved =
      mounted.length === 0
        ? text
        : text.replace(
            new RegExp(`(?<=^|=)(?:${mounted.join('|')})(?=$|/)`),
            (folder) => folders.get(folder) ?? folder,
          );
    return argumentToLoopback(moved, this.#ports, name);
  }

  /**
   * The folders and files of this machine that a service's mounts are, by their place in the container. Made once: a
   * file that is copied again is gone for a moment, in which the service may want to read it.
   */
  #folders(name: string): Map<string, string> {
    const made = this.#mounts.get(name);
    if (made !== undefined) return made;
    const folders = new Map<string, string>();
    this.#mounts.set(name, folders);
    for (const mount of this.#service(name).volumes) {
      const [source = '', target = ''] = mount.split(':');
      const place = path.join(this.#folder, name, target.replaceAll('/', '_'));
      folders.set(target, place);
      if (source.startsWith('.')) this.#copy(path.join(ROOT, source), place);
      else mkdirSync(place, { recursive: true });
    }
    return folders;
  }

  /** A mounted file or folder, with this machine's addresses in it. */
  #copy(source: string, place: string): void {
    mkdirSync(path.dirname(place), { recursive: true });
    if (statSync(source).isDirectory()) {
      mkdirSync(place, { recursive: true });
      for (const entry of readdirSync(source)) this.#copy(path.join(source, entry), path.join(place, entry));
      return;
    }
    cpSync(source, place);
    writeFileSync(place, toLoopback(readFileSync(source, 'utf8'), this.#ports));
  }

  /** Runs the health check of a service where its program is here; else asks the address it asks. */
  async #healthy(name: string, test: readonly string[]): Promise<boolean> {
    const [kind, program = '', ...args] = test.map((argument) => this.#map(name, argument));
    if (kind !== 'CMD') throw new Error(`${name}: only CMD health checks can be run here`);
    if (program === 'node') {
      const [code] = (await once(spawn(process.execPath, args, { stdio: 'ignore' }), 'exit')) as [number | null];
      return code === 0;
    }
    const url = args.find((argument) => argument.startsWith('http://'));
    if (url === undefined) throw new Error(`${name}: its health check asks no address`);
    return fetch(url).then(
      (response) => response.ok,
      () => false,
    );
  }
}

function entrypointOf(service: Service): readonly string[] {
  const entrypoint = service.entrypoint ?? IMAGE_ENTRYPOINTS[service.image.split(':')[0] ?? ''];
  if (entrypoint === undefined) throw new Error(`what ${service.image} runs is not known`);
  return entrypoint;
}
