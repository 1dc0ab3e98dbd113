import { join } from 'node:path';
import { libraryPath } from './debian-packages';
import { BRIDGE, LAB_HOME, NODE_NAME, Paths } from './layout';
import type { ComponentName } from './layout';
import type { LabState } from './state';

/** How a component is started, and how it is known to be ready. */
export interface Component {
  readonly program: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Answers below 400 when it is ready; without one the caller has its own way. */
  readonly readyUrl?: string;
}

/** Lets Node run the sources. */
const REGISTER = join(__dirname, '../../scripts/lib/ts-register.cjs');

const config = (name: string): string => join(Paths.config, name);
const data = (name: string): string => join(LAB_HOME, name);

/**
 * The folders in which the programs look for others. Without the folders for the administrator, where iptables lies: the
 * kubelet would make chains that nobody needs here and nobody takes away.
 */
const PATH = '/usr/local/bin:/usr/bin:/bin';

export function componentsOf(state: LabState): Readonly<Record<ComponentName, Component>> {
  const { parts, ports, network } = state;
  const debian = (program: string): string => join(parts.debian, 'usr/bin', program);
  const kubernetes = (program: string): string => join(parts.kubernetes, program);
  const libraries = { LD_LIBRARY_PATH: libraryPath(parts.debian) };
  return {
    registry: {
      program: debian('docker-registry'),
      args: ['serve', config('registry.yaml')],
      env: libraries,
      readyUrl: `http://127.0.0.1:${ports.registry}/v2/`,
    },
    etcd: {
      program: debian('etcd'),
      args: [
        `--data-dir=${data('etcd')}`,
        `--listen-client-urls=http://127.0.0.1:${ports.etcd}`,
        `--advertise-client-urls=http://127.0.0.1:${ports.etcd}`,
        `--listen-peer-urls=http://127.0.0.1:${ports.etcdPeers}`,
        `--initial-advertise-peer-urls=http://127.0.0.1:${ports.etcdPeers}`,
        `--initial-cluster=default=http://127.0.0.1:${ports.etcdPeers}`,
      ],
      readyUrl: `http://127.0.0.1:${ports.etcd}/health`,
    },
    'kube-apiserver': {
      program: kubernetes('kube-apiserver'),
      args: [
        `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
        '--bind-address=127.0.0.1',
        '--advertise-address=127.0.0.1',
        `--secure-port=${ports.apiServer}`,
        `--cert-dir=${Paths.certificates}`,
        `--service-account-key-file=${config('accounts.pub')}`,
        `--service-account-signing-key-file=${config('accounts.key')}`,
        '--service-account-issuer=https://kubernetes.default.svc',
        `--token-auth-file=${config('tokens.csv')}`,
        '--authorization-mode=RBAC',
        '--service-cluster-ip-range=10.96.0.0/16',
        // Nothing in the lab goes to the API by its Service.
        '--endpoint-reconciler-type=none',
        '--kubelet-preferred-address-types=InternalIP',
      ],
    },
    'kube-controller-manager': {
      program: kubernetes('kube-controller-manager'),
      args: [
        `--kubeconfig=${Paths.kubeconfig}`,
        `--service-account-private-key-file=${config('accounts.key')}`,
        `--root-ca-file=${join(Paths.certificates, 'apiserver.crt')}`,
        '--leader-elect=false',
        '--secure-port=0',
        `--flex-volume-plugin-dir=${data('volume-plugins')}`,
        '--horizontal-pod-autoscaler-sync-period=2s',
        // The only node is this machine. While the API server is away it cannot say that it lives, and at the default of
        // 50 s every pod of the lab would be taken out of its Service as soon as that is back.
        '--node-monitor-grace-period=10m',
      ],
    },
    'kube-scheduler': {
      program: kubernetes('kube-scheduler'),
      args: [`--kubeconfig=${Paths.kubeconfig}`, '--leader-elect=false', '--secure-port=0'],
    },
    containerd: {
      program: debian('containerd'),
      args: ['--config', config('containerd.toml')],
      // The shim and runc are found beside it.
      env: { ...libraries, PATH: `${join(parts.debian, 'usr/bin')}:${join(parts.debian, 'usr/sbin')}:${PATH}` },
    },
    kubelet: {
      program: kubernetes('kubelet'),
      args: [
        `--config=${config('kubelet.json')}`,
        `--kubeconfig=${Paths.kubeconfig}`,
        `--root-dir=${data('kubelet')}`,
        `--cert-dir=${data('kubelet/pki')}`,
        `--hostname-override=${NODE_NAME}`,
        `--node-ip=${network.gateway}`,
      ],
    },
    traefik: {
      program: parts.traefik,
      args: [
        `--entrypoints.web.address=127.0.0.1:${ports.gateway}`,
        `--entrypoints.traefik.address=127.0.0.1:${ports.traefik}`,
        '--providers.kubernetesgateway=true',
        '--providers.kubernetesgateway.statusaddress.ip=127.0.0.1',
        '--providers.kubernetescrd=true',
        '--api.insecure=true',
        '--api.dashboard=false',
        '--ping=true',
        '--metrics.prometheus=true',
        '--global.checknewversion=false',
        '--global.sendanonymoususage=false',
      ],
      env: { KUBECONFIG: Paths.kubeconfig },
      readyUrl: `http://127.0.0.1:${ports.traefik}/ping`,
    },
    'pod-discovery': {
      program: process.execPath,
      args: ['--require', REGISTER, join(__dirname, 'pod-discovery.ts'), Paths.kubeconfig, config('pods.json')],
    },
    prometheus: {
      program: parts.prometheus,
      args: [
        `--config.file=${config('prometheus.json')}`,
        `--storage.tsdb.path=${data('prometheus')}`,
        '--storage.tsdb.retention.time=6h',
        `--web.listen-address=127.0.0.1:${ports.prometheus}`,
      ],
      readyUrl: `http://127.0.0.1:${ports.prometheus}/-/ready`,
    },
  };
}

/** The environment every component gets, beside its own. */
export function baseEnvironment(): Readonly<Record<string, string>> {
  return { PATH, HOME: LAB_HOME, TMPDIR: '/tmp' };
}

/** The files of configuration, by their names in the lab's folder of configuration. JSON is YAML. */
export function configFiles(state: LabState): Readonly<Record<string, string>> {
  const { parts, ports, network, tokens } = state;
  return {
    'tokens.csv': `${tokens.admin},admin,1,system:masters\n${tokens.limited},limited,2\n`,
    'registry.yaml': JSON.stringify({
      version: 0.1,
      log: { level: 'warn', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: data('registry') }, delete: { enabled: true } },
      http: { addr: `127.0.0.1:${ports.registry}`, secret: tokens.limited },
    }),
    'containerd.toml': containerdConfig(parts, ports.registry),
    'cni/10-sluice-lab.conflist': JSON.stringify(cniConfig(network)),
    'kubelet.json': JSON.stringify(kubeletConfig(network.gateway, ports.kubelet)),
    'prometheus.json': JSON.stringify(prometheusConfig(ports.traefik)),
  };
}

function containerdConfig(parts: LabState['parts'], registryPort: number): string {
  return `version = 2
root = "${data('containerd/root')}"
state = "${Paths.containerdState}"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = "${Paths.containerdSocket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "${data('containerd/opt')}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "127.0.0.1:${registryPort}/pause:1"
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "${join(parts.debian, 'usr/lib/cni')}"
    conf_dir = "${config('cni')}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
        Root = "${data('containerd/runc')}"
`;
}

/**
 * The bridge is made by the lab and has its address already: with `isGateway` the plugin would switch on the forwarding
 * of packets for the whole machine. Pods reach each other and the bridge, nothing else.
 */
function cniConfig(network: LabState['network']): unknown {
  return {
    cniVersion: '0.4.0',
    name: 'sluice-lab',
    plugins: [
      {
        type: 'bridge',
        bridge: BRIDGE,
        isGateway: false,
        ipMasq: false,
        ipam: {
          type: 'host-local',
          dataDir: data('cni'),
          ranges: [[{ subnet: network.subnet, rangeStart: network.firstPod }]],
        },
      },
    ],
  };
}

function kubeletConfig(address: string, port: number): unknown {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    // The bridge only. Whoever is on it is a pod of the lab: no certificates for kubectl logs and exec.
    address,
    port,
    readOnlyPort: 0,
    healthzPort: 0,
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: 'AlwaysAllow' },
    containerRuntimeEndpoint: `unix://${Paths.containerdSocket}`,
    cgroupDriver: 'cgroupfs',
    cgroupsPerQOS: false,
    enforceNodeAllocatable: [],
    failCgroupV1: false,
    failSwapOn: false,
    localStorageCapacityIsolation: false,
    imagePullCredentialsVerificationPolicy: 'NeverVerify',
    serializeImagePulls: false,
    podLogsDir: data('pod-logs'),
    volumePluginDir: data('volume-plugins'),
    // There is no DNS in the lab; without an address each pod would get a warning about that.
    clusterDNS: [address],
    clusterDomain: 'cluster.local',
    // The machine's disk and memory are not the lab's to judge: no node under pressure because a disk is 90 % full.
    evictionHard: {
      'memory.available': '50Mi',
      'nodefs.available': '0%',
      'imagefs.available': '0%',
      'nodefs.inodesFree': '0%',
    },
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    maxPods: 200,
  };
}

/** Scrapes each second; which pods, `pod-discovery` tells it. */
function prometheusConfig(traefikPort: number): unknown {
  return {
    global: { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' },
    scrape_configs: [
      { job_name: 'pods', file_sd_configs: [{ files: [config('pods.json')] }] },
      { job_name: 'traefik', static_configs: [{ targets: [`127.0.0.1:${traefikPort}`] }] },
    ],
  };
}
