import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../../src/devserver/free-port';
import { until } from './api-server';

/** Debian's package of the same name; part of no checkout. */
const PROGRAM = 'docker-registry';

/** The one login of `startRegistry({ login: true })`. */
export const LOGIN = { user: 'sluice', password: 'let-me-in' };

/** bcrypt of the password above; the registry takes no other kind. */
const HTPASSWD = 'sluice:$2b$05$abcdefghijklmnopqrstuu3Jd./u/rH1RxB6auX5v7gLP6uWhKCgG\n';

/** A real registry on loopback, with its images in a folder of its own. */
export interface Registry {
  /** `127.0.0.1:40000`. */
  readonly host: string;
  /** Puts an image there; answers its digest. */
  push(path: string, tag: string, content: string): Promise<string>;
  close(): Promise<void>;
}

/** A suite against a real registry; skipped, and said so, where none is installed. */
export function describeWithRegistry(name: string, suite: () => void): void {
  if (spawnSync(PROGRAM, ['--version'], { stdio: 'ignore' }).status === 0) {
    describe(name, suite);
    return;
  }
  const reason = `no ${PROGRAM}; it is a Debian package of that name`;
  process.stderr.write(`skipped "${name}": ${reason}\n`);
  describe.skip(name, () => {
    it(`needs a registry: ${reason}`, () => undefined);
  });
}

export async function startRegistry(options: { readonly login: boolean }): Promise<Registry> {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-registry-'));
  const host = `127.0.0.1:${await freePort()}`;
  const passwords = join(directory, 'htpasswd');
  writeFileSync(passwords, HTPASSWD);
  const config = join(directory, 'config.json');
  writeFileSync(
    config, // JSON is YAML
    JSON.stringify({
      version: '0.1',
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(directory, 'images') } },
      http: { addr: host },
      ...(options.login ? { auth: { htpasswd: { realm: 'the registry', path: passwords } } } : {}),
    }),
  );
  const child = spawn(PROGRAM, ['serve', config], { stdio: 'ignore' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const close = async (): Promise<void> => {
    child.kill('SIGKILL'); // it has nothing to save
    await ended;
    rmSync(directory, { recursive: true, force: true });
  };
  const headers: Record<string, string> = options.login
    ? { Authorization: `Basic ${Buffer.from(`${LOGIN.user}:${LOGIN.password}`).toString('base64')}` }
    : {};
  try {
    await until(async () => {
      if (child.exitCode !== null) throw new Error(`${PROGRAM} ended with ${child.exitCode}.`);
      return fetch(`http://${host}/v2/`, { headers }).then(
        (answer) => answer.status === 200,
        () => false,
      );
    });
  } catch (error) {
    await close();
    throw error;
  }
  return { host, push: (path, tag, content) => push({ host, headers, path, tag, content }), close };
}

async function push(image: {
  host: string;
  headers: Record<string, string>;
  path: string;
  tag: string;
  content: string;
}): Promise<string> {
  const { host, headers, path, tag, content } = image;
  const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: { Labels: { content } } });
  const begun = await fetch(`http://${host}/v2/${path}/blobs/uploads/`, { method: 'POST', headers });
  const upload = new URL(begun.headers.get('location') ?? '', `http://${host}`);
  upload.searchParams.set('digest', digestOf(config));
  const blob = await fetch(upload, { method: 'PUT', headers, body: config });
  if (blob.status !== 201) throw new Error(`The registry did not take the blob: ${blob.status}`);
  const type = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: type,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: digestOf(config),
      size: Buffer.byteLength(config),
    },
    layers: [],
  });
  const put = await fetch(`http://${host}/v2/${path}/manifests/${tag}`, {
    method: 'PUT',
    headers: { ...headers, 'Content-Type': type },
    body: manifest,
  });
  if (put.status !== 201) throw new Error(`The registry did not take the manifest: ${put.status}`);
  return digestOf(manifest);
}

export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
