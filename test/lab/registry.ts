import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReleaseError } from '../../src/errors';
import { execute } from './tell';

/** An image that consists of the sample shop's binary and what it is told. */
export interface Image {
  /** Name and tag. */
  readonly name: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/** The file system of all images: the binary as `/shop`. The same binary gives the same bytes each time. */
export async function makeLayer(binary: string): Promise<Buffer> {
  const work = await mkdtemp(join(tmpdir(), 'sluice-lab-layer-'));
  try {
    await copyFile(binary, join(work, 'shop'));
    const stable = ['--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=755'];
    await execute('tar', [...stable, '-cf', 'layer.tar', 'shop'], { cwd: work });
    return await readFile(join(work, 'layer.tar'));
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Puts an image into a registry by its HTTP API, under the image's tag; a tag that is there already is moved.
 *
 * @param registry `host:port`, plain HTTP
 * @returns the digest by which the image is known, `sha256:…`
 */
export async function pushImage(registry: string, image: Image, layer: Buffer): Promise<string> {
  const [repository = '', tag = 'latest'] = image.name.split(':');
  const base = `http://${registry}/v2/${repository}`;
  const config = Buffer.from(
    JSON.stringify({
      architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
      os: 'linux',
      config: {
        Entrypoint: image.command,
        Env: Object.entries(image.environment).map(([name, value]) => `${name}=${value}`),
        User: '65532',
      },
      rootfs: { type: 'layers', diff_ids: [digestOf(layer)] },
      history: [{ created: '1970-01-01T00:00:00Z', created_by: 'scripts/lab' }],
    }),
  );
  await putBlob(base, layer);
  await putBlob(base, config);
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MANIFEST,
    config: {
      mediaType: 'application/vnd.docker.container.image.v1+json',
      size: config.length,
      digest: digestOf(config),
    },
    layers: [
      { mediaType: 'application/vnd.docker.image.rootfs.diff.tar', size: layer.length, digest: digestOf(layer) },
    ],
  });
  await request(`${base}/manifests/${tag}`, { method: 'PUT', headers: { 'content-type': MANIFEST }, body: manifest });
  return digestOf(Buffer.from(manifest));
}

async function putBlob(base: string, content: Buffer): Promise<void> {
  const digest = digestOf(content);
  const known = await fetch(`${base}/blobs/${digest}`, { method: 'HEAD' });
  if (known.ok) return;
  const opened = await request(`${base}/blobs/uploads/`, { method: 'POST' });
  const target = new URL(opened.headers.get('location') ?? '', base);
  target.searchParams.set('digest', digest);
  await request(target.href, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: new Uint8Array(content),
  });
}

async function request(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init);
  if (response.ok) return response;
  throw new ReleaseError(
    'internal',
    `The registry answers ${init.method} ${url} with ${response.status}: ${await response.text()}`,
  );
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
