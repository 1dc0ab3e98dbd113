import { COMPONENTS, LAB_HOME, Paths, Versions } from './layout';
import type { ComponentName } from './layout';
import { remains } from './down';
import { findKindLab } from './kind';
import { readState, runningPid } from './state';
import type { LabState } from './state';
import { execute } from './tell';
import { componentsOf } from './components';

/** Prints what runs, in which version and where; ends with 1 when no lab runs, or not all of it. */
export async function printStatus(): Promise<number> {
  const state = readState();
  const kind = state === undefined ? findKindLab() : undefined;
  if (kind !== undefined) {
    process.stdout.write(
      `A cluster of kind:\n${Object.entries(kind)
        .map(([name, value]) => `${name}  ${value}`)
        .join('\n')}\n`,
    );
    return 0;
  }
  if (state === undefined) {
    const left = process.getuid?.() === 0 ? remains() : [];
    process.stdout.write(
      left.length === 0 ? 'No lab runs on this machine.\n' : `A lab's remains: ${left.join(', ')}\n`,
    );
    return 1;
  }
  const rows = await Promise.all(COMPONENTS.map((name) => rowOf(state, name)));
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  for (const row of rows) {
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
  process.stdout.write(`\nkubeconfig  ${Paths.kubeconfig}\nlogs        ${Paths.logs}\n`);
  process.stdout.write(
    `pods        ${state.network.subnet}, in ${LAB_HOME}\nbrought up  ${state.startedAt} by ${state.owner}\n`,
  );
  return rows.some((row) => row[2] === 'does not run') ? 1 : 0;
}

async function rowOf(state: LabState, name: ComponentName): Promise<readonly string[]> {
  const pid = await runningPid(state, name);
  return [
    name,
    await versionOf(state, name),
    pid === undefined ? 'does not run' : `pid ${pid}`,
    addressOf(state, name),
  ];
}

async function versionOf(state: LabState, name: ComponentName): Promise<string> {
  if (name.startsWith('kube')) return Versions.kubernetes;
  if (name === 'pod-discovery') return process.versions.node;
  if (name === 'traefik') return Versions.traefik;
  const { program, env } = componentsOf(state)[name];
  const words = await execute(program, ['--version'], { env: { ...process.env, ...env } });
  return /\d+\.\d+\.\d+/u.exec(words)?.[0] ?? 'unknown';
}

function addressOf({ ports, network }: LabState, name: ComponentName): string {
  switch (name) {
    case 'registry':
      return `127.0.0.1:${ports.registry}`;
    case 'etcd':
      return `http://127.0.0.1:${ports.etcd}`;
    case 'kube-apiserver':
      return `https://127.0.0.1:${ports.apiServer}`;
    case 'kubelet':
      return `https://${network.gateway}:${ports.kubelet}`;
    case 'traefik':
      return `http://127.0.0.1:${ports.gateway} (its own API: http://127.0.0.1:${ports.traefik})`;
    case 'prometheus':
      return `http://127.0.0.1:${ports.prometheus}`;
    case 'containerd':
      return Paths.containerdSocket;
    case 'kube-controller-manager':
    case 'kube-scheduler':
    case 'pod-discovery':
      return '';
  }
}
