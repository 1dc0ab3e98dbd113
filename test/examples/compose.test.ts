import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { containerPorts, readComposeFile } from './compose-file';
import { shellCommands } from './markdown';
import { DYNAMIC_CONFIG } from '../../src/devserver/start-temporal';

const ROOT = path.join(__dirname, '..', '..');
const FILE = path.join(ROOT, 'docker-compose.yml');
const compose = readComposeFile(FILE);
const services = Object.entries(compose.services);

/** `docker compose` or `docker-compose` as words, or why there is neither, which is printed. */
function findCompose(): readonly string[] | { readonly missing: string } {
  const found = spawnSync('bash', [path.join(ROOT, 'scripts', 'lib', 'ensure-compose.sh'), '--no-fetch'], {
    encoding: 'utf8',
  });
  if (found.status === 0) return found.stdout.trim().split(' ');
  const missing = found.stderr.trim();
  process.stderr.write(`skipped docker-compose's own check of docker-compose.yml: ${missing}\n`);
  return { missing };
}

const command = findCompose();

describe('docker-compose.yml', () => {
  const accepted = 'is one that docker-compose accepts, with every service and setting';
  if ('missing' in command) it.skip(`${accepted} (${command.missing})`, () => undefined);
  else it(accepted, () => acceptedBy(command));

  function acceptedBy([program = '', ...args]: readonly string[]): void {
    const run = (...more: string[]): string =>
      execFileSync(program, [...args, '--file', FILE, '--profile', 'cli', '--profile', 'users', 'config', ...more], {
        encoding: 'utf8',
        env: { ...process.env, SLUICE_ROUTER_TOKEN: 'of-the-environment' },
      });

    expect(run('--services').trim().split('\n').sort()).toEqual(services.map(([name]) => name).sort());
    const resolved = z
      .object({
        services: z.record(z.string(), z.object({ environment: z.record(z.string(), z.string()).optional() })),
      })
      .parse(parse(run()));
    const ours = readComposeFile(FILE, { SLUICE_ROUTER_TOKEN: 'of-the-environment' });
    for (const [name, { environment = {} }] of Object.entries(resolved.services)) {
      expect({ name, environment }).toEqual({ name, environment: ours.services[name]?.environment });
    }
  }

  it.each(services)('%s: its image is pinned to a version', (_, { image }) => {
    expect(image).toMatch(/^[a-z]+(\/[a-z-]+)?:v?\d+\.\d+(\.\d+)?$/);
  });

  it.each(services)('%s: nothing is published but on loopback', (_, { ports }) => {
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
  });

  it.each(services)('%s: waits only for what can become so', (_, service) => {
    for (const [name, { condition }] of Object.entries(service.depends_on)) {
      const dependency = compose.services[name];
      expect(dependency).toBeDefined();
      if (condition === 'service_healthy') expect(dependency?.healthcheck).toBeDefined();
      else expect(dependency?.restart).toBe('on-failure');
    }
  });

  it.each(services.filter(([, { profiles }]) => profiles.length === 0))(
    '%s: comes back by itself',
    (_, { restart }) => {
      expect(['unless-stopped', 'on-failure']).toContain(restart);
    },
  );

  it.each(services)('%s: its mounts are files of the repository or declared volumes', (_, { volumes }) => {
    for (const volume of volumes) {
      const [source = '', , mode] = volume.split(':');
      if (source.startsWith('.')) {
        expect({ source, exists: existsSync(path.join(ROOT, source)), mode }).toEqual({
          source,
          exists: true,
          mode: 'ro',
        });
      } else expect(Object.keys(compose.volumes)).toContain(source);
    }
  });

  it('has no secret that does not say it is for development, and lets each be set', () => {
    for (const [name, { environment }] of services) {
      for (const [key, value] of Object.entries(environment)) {
        if (/TOKEN|PASSWORD|PWD|SECRET|KEY/.test(key)) expect(`${name} ${key}=${value}`).toMatch(/=development-only-/);
      }
    }
    const own = readComposeFile(FILE, { POSTGRES_PASSWORD: 'p', SLUICE_ROUTER_TOKEN: 't' });
    expect(JSON.stringify(own)).not.toContain('development-only-');
  });

  it('gives the worker the token that the shops ask for', () => {
    const token = compose.services['worker']?.environment['SLUICE_ROUTER_TOKEN'];

    expect(token).toBeDefined();
    for (const shop of ['shop-1', 'shop-2']) {
      expect(compose.services[shop]?.environment['CANARY_ADMIN_TOKEN']).toBe(token);
    }
  });

  it('has a service behind every address in its configuration files', () => {
    const known = services.flatMap(([name, service]) => containerPorts(service).map((port) => `${name}:${port}`));
    const files = ['deploy/compose/prometheus.yml', 'examples/compose/release.yaml'];
    const named = files.flatMap((file) =>
      [...readFileSync(path.join(ROOT, file), 'utf8').matchAll(/[a-z][a-z0-9-]*:\d{4}\b/g)].map(([address]) => address),
    );

    expect(named.length).toBeGreaterThanOrEqual(6);
    for (const address of named) expect(known).toContain(address);
  });

  it('is described by docs/compose.md with commands that name its services', () => {
    const commands = shellCommands(readFileSync(path.join(ROOT, 'docs', 'compose.md'), 'utf8'));

    expect(commands.length).toBeGreaterThan(5);
    for (const shown of commands) {
      expect(shown).toMatch(/^docker compose (up|down|run|logs)\b/);
      const [, service] = /^docker compose run (?:--\S+ )*(\S+)/.exec(shown) ?? [];
      if (service !== undefined) expect(Object.keys(compose.services)).toContain(service);
    }
  });
});

describe('the shell scripts of deploy/compose', () => {
  it.each(['temporal-schema.sh', 'temporal-namespace.sh'])('%s is one that a shell can read', (script) => {
    const file = path.join(ROOT, 'deploy', 'compose', script);

    expect(() => execFileSync('sh', ['-n', file])).not.toThrow();
  });

  it('temporal-schema.sh makes and upgrades both databases', () => {
    // The tool is in Temporal's image only: one in its place writes down what it is asked for.
    const bin = mkdtempSync(path.join(tmpdir(), 'sluice-bin-'));
    writeFileSync(path.join(bin, 'temporal-sql-tool'), '#!/bin/sh\necho "$*"\n', { mode: 0o755 });
    const asked = execFileSync('sh', [path.join(ROOT, 'deploy', 'compose', 'temporal-schema.sh')], {
      encoding: 'utf8',
      env: { PATH: `${bin}:${process.env['PATH'] ?? ''}`, POSTGRES_SEEDS: 'postgresql', POSTGRES_USER: 'temporal' },
    });
    rmSync(bin, { recursive: true });

    expect(
      asked
        .trim()
        .split('\n')
        .map((line) => line.replace(/^--plugin postgres12 --endpoint postgresql --port 5432 --user temporal /, '')),
    ).toEqual([
      '--database temporal create-database',
      '--database temporal setup-schema --version 0.0',
      '--database temporal update-schema --schema-dir /etc/temporal/schema/postgresql/v12/temporal/versioned',
      '--database temporal_visibility create-database',
      '--database temporal_visibility setup-schema --version 0.0',
      '--database temporal_visibility update-schema --schema-dir /etc/temporal/schema/postgresql/v12/visibility/versioned',
    ]);
  });
});

describe("Temporal's dynamic configuration", () => {
  it('is a list of values for each key, and has what `sluice dev` gives its server', () => {
    const file = path.join(ROOT, 'deploy', 'compose', 'temporal-dynamic-config.yaml');
    const values = z
      .record(z.string(), z.tuple([z.strictObject({ value: z.union([z.number(), z.string(), z.boolean()]) })]))
      .parse(parse(readFileSync(file, 'utf8')));

    expect(Object.fromEntries(Object.entries(values).map(([key, [{ value }]]) => [key, value]))).toEqual(
      DYNAMIC_CONFIG,
    );
  });
});

interface Instruction {
  readonly name: string;
  readonly words: readonly string[];
}

function readDockerfile(): Instruction[] {
  return readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8')
    .replace(/\\\n/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
    .map((line) => {
      const [name = '', ...words] = line.trim().split(/\s+/);
      return { name, words };
    });
}

describe('the Dockerfile', () => {
  const instructions = readDockerfile();
  const copied = instructions
    .filter(({ name, words }) => name === 'COPY' && !words[0]?.startsWith('--from='))
    .flatMap(({ words }) => words.slice(0, -1));
  const ignored = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8').split('\n');

  it('copies only what is there, and .dockerignore lets through exactly that', () => {
    expect(copied.length).toBeGreaterThan(5);
    for (const source of copied)
      expect({ source, there: existsSync(path.join(ROOT, source)) }).toEqual({ source, there: true });
    expect(
      ignored
        .filter((line) => line.startsWith('!'))
        .map((line) => line.slice(1))
        .sort(),
    ).toEqual([...new Set(copied)].sort());
    expect(ignored).toContain('*');
  });

  it('builds by scripts that package.json has, of files that it copies', () => {
    const { scripts, bin, engines } = z
      .object({
        scripts: z.record(z.string(), z.string()),
        bin: z.record(z.string(), z.string()),
        engines: z.object({ node: z.string() }),
      })
      .parse(JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8')));
    const runs = instructions.filter(({ name }) => name === 'RUN').map(({ words }) => words.join(' '));
    const [, script = ''] = /npm run (\w+)/.exec(runs.join('\n')) ?? [];

    expect(scripts[script]).toBeDefined();
    for (const file of scripts[script]?.match(/\S+\.(?:json|cjs)/g) ?? []) expect(copied).toContain(file);
    // What the link in the image leads to is what the package calls its command.
    expect(runs).toContain(`ln -s /app/${bin['sluice'] ?? '?'} /usr/local/bin/sluice`);
    expect(engines.node).toMatch(/^>=22/);
  });

  it('runs the command line as an ordinary user, on a pinned Node with glibc', () => {
    const of = (wanted: string): string[] =>
      instructions.filter(({ name }) => name === wanted).map(({ words }) => words.join(' '));

    expect(of('ARG')).toEqual([expect.stringMatching(/^NODE_IMAGE=node:24\.\d+\.\d+-bookworm-slim$/)]);
    expect(of('USER')).toEqual(['node']);
    expect(of('ENTRYPOINT')).toEqual(['["sluice"]']);
  });

  it('has in its image every file that docker-compose.yml runs from it', () => {
    const run = services
      .filter(([, { build }]) => build !== undefined)
      .flatMap(([, service]) => service.command)
      .filter((argument) => /\.mjs$/.test(argument));

    expect(run.length).toBeGreaterThanOrEqual(3);
    for (const file of run) {
      expect(existsSync(path.join(ROOT, file))).toBe(true);
      expect(copied.some((source) => file.startsWith(`${source}/`))).toBe(true);
    }
  });
});
