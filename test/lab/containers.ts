import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Paths } from './layout';

/** containerd's own notes about the containers (and sandboxes) that its shims look after. */
const TASKS = join(Paths.containerdState, 'io.containerd.runtime.v2.task', 'k8s.io');

export function containerIds(): readonly string[] {
  return existsSync(TASKS) ? readdirSync(TASKS) : [];
}

/** The sockets of the shims, which lie where no setting moves them. */
export function shimSockets(): readonly string[] {
  return containerIds()
    .map((id) => join(TASKS, id, 'address'))
    .filter((file) => existsSync(file))
    .map((file) => readFileSync(file, 'utf8').trim().replace('unix://', ''));
}
