import { join } from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';
import { withCacheLock } from '../../src/devserver/cache-lock';
import { ensureGoBuild, moduleFolder } from '../../test/lab/go-builds';
import type { GoBuild } from '../../test/lab/go-builds';

const VERSION = '1.10.2';
const MODULE = 'github.com/argoproj/argo-rollouts';

const BUILD: GoBuild = {
  title: `Argo Rollouts ${VERSION}`,
  module: MODULE,
  version: `v${VERSION}`,
  commands: [`${MODULE}/cmd/rollouts-controller`],
  packages: 1_500,
  env: { CGO_ENABLED: '0' },
};

/** The controller that is measured beside, and the folder of its CustomResourceDefinitions. */
export interface ArgoParts {
  readonly controller: string;
  readonly definitions: string;
}

/** Builds Argo Rollouts' controller from the Go module proxy, once: some eight minutes on two cores. */
export async function ensureArgoRollouts(onProgress: (line: string) => void): Promise<ArgoParts> {
  const folder = join(cacheDirectory(), 'lab', `argo-rollouts-${VERSION}`);
  const lock = join(cacheDirectory(), 'lab', `argo-rollouts-${VERSION}.lock`);
  const wait = (holder: number): void => onProgress(`waiting for process ${holder}, which builds Argo Rollouts`);
  return withCacheLock(lock, wait, async () => {
    await ensureGoBuild(BUILD, folder, onProgress);
    const published = await moduleFolder(MODULE, `v${VERSION}`);
    return { controller: join(folder, 'rollouts-controller'), definitions: join(published, 'manifests', 'crds') };
  });
}
