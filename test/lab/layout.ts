import { join } from 'node:path';

/** What the lab is made of. The tests against a lone API server use the same Kubernetes and definitions. */
export const Versions = {
  kubernetes: '1.36.3',
  traefik: '3.6.12',
  gatewayApi: '1.4.0',
  istioApi: '1.28.0',
  prometheusOperator: '0.85.0',
} as const;

/**
 * Everything a running lab keeps: one folder for the whole machine and not one for each checkout, because the bridge,
 * the cgroup and the address range below can only be there once.
 */
export const LAB_HOME = '/var/lib/sluice-lab';

export const Paths = {
  state: join(LAB_HOME, 'state.json'),
  lock: '/var/lock/sluice-lab',
  kubeconfig: join(LAB_HOME, 'kubeconfig'),
  logs: join(LAB_HOME, 'logs'),
  config: join(LAB_HOME, 'config'),
  certificates: join(LAB_HOME, 'certificates'),
  containerdSocket: join(LAB_HOME, 'containerd', 'containerd.sock'),
  containerdState: join(LAB_HOME, 'containerd', 'state'),
} as const;

/** The name of the bridge; Linux allows 15 characters. */
export const BRIDGE = 'sluice-lab0';

/** The pods' addresses: the first range that nothing on the machine uses is taken. The first address is the bridge's. */
export const SUBNETS = ['10.213.0', '10.214.0', '172.29.0', '192.168.213'].map((start) => ({
  subnet: `${start}.0/24`,
  gateway: `${start}.1`,
  firstPod: `${start}.10`,
}));

/** The lab's cgroup below the root of the hierarchy; the programs are in a leaf of it. */
export const CGROUP = { root: 'sluice-lab', programs: 'sluice-lab/programs' } as const;

export const NODE_NAME = 'sluice-lab';
export const GATEWAY_CLASS = 'traefik';

/** The programs of the lab, in the order in which they are started. */
export const COMPONENTS = [
  'registry',
  'etcd',
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'containerd',
  'kubelet',
  'traefik',
  'pod-discovery',
  'prometheus',
] as const;
export type ComponentName = (typeof COMPONENTS)[number];
