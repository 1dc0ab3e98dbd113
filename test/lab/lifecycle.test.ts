import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { runCommand } from '../../src/devserver/run-command';
import { ask } from './shop';
import { shopHost } from './shop-manifests';
import { LAB_HOME, Paths } from './layout';
import { whyNoLab } from './machine';
import { areLabPartsBuilt } from './parts';
import { readState } from './state';

const ROOT = path.resolve(__dirname, '../..');
const LAB = path.join(ROOT, 'scripts/lab');

/** A busy machine takes a minute or two to bring a lab up. */
const LIMIT_MS = 10 * 60_000;

const reason = whyNotHere();
if (reason !== undefined) process.stderr.write(`skipped "scripts/lab": ${reason}\n`);

(reason === undefined ? describe : describe.skip)('scripts/lab', () => {
  let before: Machine;

  beforeAll(async () => {
    before = await look();
  });

  afterAll(async () => {
    await lab('down');
  }, LIMIT_MS);

  it(
    'brings a cluster up that answers at its gateway, is idempotent, and leaves nothing behind',
    async () => {
      const up = await lab('up');
      expect(up).toMatchObject({ code: 0 });
      const addresses = Object.fromEntries(
        up.stdout
          .trim()
          .split('\n')
          .map((line) => line.split('=')),
      ) as Addresses;

      const nodes = await lab('run', '--', 'kubectl', 'get', 'nodes', '--no-headers');
      expect(nodes.stdout).toMatch(/^sluice-lab\s+Ready\b/);

      const shop = await lab('shop', 'lifecycle', '--version', 'v2', '--replicas', '1');
      expect(shop).toMatchObject({ code: 0 });
      const answer = await ask({ gatewayUrl: addresses.SLUICE_LAB_GATEWAY_URL }, shopHost('lifecycle'));
      expect(answer).toEqual({ status: 200, version: 'v2' });

      const status = await lab('status');
      expect(status).toMatchObject({ code: 0 });
      expect(status.stdout).not.toContain('does not run');

      const processes = readState()?.processes;
      expect(await lab('up')).toMatchObject({ code: 0, stdout: up.stdout });
      expect(readState()?.processes).toEqual(processes);

      // A lab that another checkout brought up is neither brought up again nor taken down from here.
      const state = readFileSync(Paths.state, 'utf8');
      writeFileSync(Paths.state, JSON.stringify({ ...(JSON.parse(state) as object), owner: '/another/checkout' }));
      for (const command of ['up', 'down']) {
        const refused = await lab(command);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain('A lab that /another/checkout brought up runs on this machine');
      }
      writeFileSync(Paths.state, state);

      expect(await lab('down')).toMatchObject({ code: 0 });
      expect(await look()).toEqual(before);
      expect(labProcesses()).toEqual([]);
    },
    LIMIT_MS,
  );

  it('says in one sentence what is wrong with a command', async () => {
    for (const [args, sentence] of [
      [['frobnicate'], "scripts/lab has no command 'frobnicate'."],
      [['run', '--', 'true'], 'No lab runs on this machine.'],
      [['shop', 'UPPER'], "'UPPER' is no name for a namespace."],
      [['shop', 'a', '--version', 'v9'], "The shop has no version 'v9'."],
      [['stop', 'mariadb'], 'scripts/lab stop needs one of registry, etcd'],
    ] as const) {
      const result = await lab(...args);
      expect(result.code).not.toBe(0);
      expect(result.stderr.split('\n')[0]).toContain(sentence);
    }
  });
});

interface Addresses {
  readonly SLUICE_LAB_GATEWAY_URL: string;
}

/** What of a machine a lab could change. */
interface Machine {
  readonly links: readonly string[];
  readonly mounts: readonly string[];
  readonly firewall: string;
  readonly cgroups: readonly string[];
  readonly folders: readonly string[];
  readonly settings: readonly string[];
}

async function look(): Promise<Machine> {
  const firewall = await runCommand('iptables-save', []);
  const folders = ['/run', '/var/lib', '/var/log', '/opt', '/usr/libexec', '/run/netns', '/run/containerd', '/etc/cni'];
  const settings = ['vm/overcommit_memory', 'kernel/panic', 'kernel/panic_on_oops', 'net/ipv4/ip_forward'];
  return {
    links: readdirSync('/sys/class/net'),
    mounts: readFileSync('/proc/self/mounts', 'utf8').split('\n'),
    // Counters and dates differ; where there is no iptables, the lab cannot have used it.
    firewall: firewall.code === 0 ? firewall.output.replace(/^#.*$/gmu, '').replace(/\[\d+:\d+\]/gu, '') : '',
    cgroups: readdirSync('/sys/fs/cgroup').flatMap((name) => below(path.join('/sys/fs/cgroup', name))),
    folders: folders.flatMap(below),
    settings: settings.map((name) => readFileSync(path.join('/proc/sys', name), 'utf8')),
  };
}

/** The entries of a folder, if it is one. */
function below(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => path.join(folder, entry.name));
  } catch {
    return []; // a file, or not there: nothing is in it
  }
}

/** Processes that name the lab's folder, or are in its cgroup. */
function labProcesses(): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      const words = ['cmdline', 'cgroup'].map((file) => read(path.join('/proc', pid, file)));
      return words.some((text) => text.includes(LAB_HOME) || text.includes('/sluice-lab/'));
    });
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // the process has ended meanwhile
  }
}

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function lab(...args: readonly string[]): Promise<Result> {
  return new Promise((resolve, reject) => {
    const child = spawn(LAB, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...output }));
  });
}

function whyNotHere(): string | undefined {
  const why = whyNoLab();
  if (why !== undefined) return why;
  if (!areLabPartsBuilt()) return 'its parts are not built; scripts/lab build does that';
  if (existsSync(LAB_HOME)) return 'a lab runs on this machine, which is not taken down for a test';
  return undefined;
}
