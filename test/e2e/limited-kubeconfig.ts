import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AccountRef } from '../../src/targets/kubernetes/role';
import type { Lab } from '../lab/lab';
import { execute } from '../lab/tell';

/** A kubeconfig for an account that has no rights but those that a test gives it. */
export interface LimitedKubeconfig {
  readonly path: string;
  readonly account: AccountRef;
  remove(): Promise<void>;
}

export async function limitedKubeconfig(lab: Lab, namespace: string): Promise<LimitedKubeconfig> {
  const kubectl = (...args: readonly string[]): Promise<string> =>
    execute(lab.kubectl, ['--kubeconfig', lab.kubeconfig, ...args]);
  const name = 'sluice';
  await kubectl('create', 'namespace', namespace);
  await kubectl('create', 'serviceaccount', name, '-n', namespace);
  const token = (await kubectl('create', 'token', name, '-n', namespace, '--duration=1h')).trim();
  const config = JSON.parse(await kubectl('config', 'view', '--raw', '--flatten', '--minify', '-o', 'json')) as {
    users: unknown;
    contexts: { context: object }[];
  };
  const folder = mkdtempSync(join(tmpdir(), 'sluice-e2e-'));
  const path = join(folder, 'kubeconfig');
  const contexts = config.contexts.map((one) => ({ ...one, context: { ...one.context, user: name } }));
  const users = [{ name, user: { token } }];
  writeFileSync(path, JSON.stringify({ ...config, users, contexts }), { mode: 0o600 });
  return {
    path,
    account: { name, namespace },
    remove: async () => {
      rmSync(folder, { recursive: true, force: true });
      await kubectl('delete', 'namespace', namespace, '--wait=false');
    },
  };
}
