import { copyFile, mkdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findGo, OLDEST_GO } from '../../src/devserver/find-go';
import { isExecutable } from '../../src/devserver/find-executable';
import { tellEvery } from '../../src/devserver/progress';
import { runCommand } from '../../src/devserver/run-command';
import { messageOf, ReleaseError } from '../../src/errors';
import { Versions } from './layout';
import { execute } from './tell';

/** What Kubernetes' go.mod asks for; an older Go fetches a newer one. */
const GO_NEEDED = [1, 26] as const;

/** Programs that are built together from one module of the Go module proxy. */
export interface GoBuild {
  readonly title: string;
  readonly module: string;
  readonly version: string;
  /** Import paths of the commands; the last part is the program's name. */
  readonly commands: readonly string[];
  /** How many packages are compiled, for the progress line only. */
  readonly packages: number;
  /** Environment of the build, beside the process's own. */
  readonly env?: Readonly<Record<string, string>>;
  /** Variables that the program reports as its version. */
  readonly variables?: Readonly<Record<string, string>>;
  /** The versions of modules that the published go.mod finds in its own repository, which the proxy does not serve. */
  readonly siblings?: { readonly pattern: RegExp; readonly version: string };
}

function kubernetes(commands: readonly string[], packages: number): GoBuild {
  return {
    title: `Kubernetes ${Versions.kubernetes}`,
    module: 'k8s.io/kubernetes',
    version: `v${Versions.kubernetes}`,
    commands: commands.map((name) => `k8s.io/kubernetes/cmd/${name}`),
    packages,
    variables: {
      'k8s.io/component-base/version.gitVersion': `v${Versions.kubernetes}`,
      'k8s.io/component-base/version.gitMajor': Versions.kubernetes.split('.')[0] ?? '',
      'k8s.io/component-base/version.gitMinor': Versions.kubernetes.split('.')[1] ?? '',
    },
    siblings: {
      pattern: /^\s*(k8s\.io\/[a-z0-9-]+) v0\.0\.0(?= |$)/gmu,
      version: `v0.${Versions.kubernetes.slice(2)}`,
    },
  };
}

export const GoBuilds = {
  apiServer: kubernetes(['kube-apiserver', 'kubectl'], 2_100),
  kubernetes: kubernetes(['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kubelet', 'kubectl'], 2_700),
  traefik: {
    title: `Traefik ${Versions.traefik}`,
    module: 'github.com/traefik/traefik/v3',
    version: `v${Versions.traefik}`,
    commands: ['github.com/traefik/traefik/v3/cmd/traefik'],
    packages: 2_500,
    // Pure Go, and with the Go that is known to compile all that it depends on.
    env: { CGO_ENABLED: '0', GOTOOLCHAIN: 'go1.26.10' },
    variables: { 'github.com/traefik/traefik/v3/pkg/version.Version': Versions.traefik },
  },
} as const satisfies Record<string, GoBuild>;

/**
 * Builds the programs into `folder`, unless they are there already.
 *
 * The published module cannot be built in place when it needs replacements, and `go install` refuses it then: so its
 * go.mod and go.sum are taken for an empty module of ours, which requires the published one.
 *
 * @throws ReleaseError with what is missing, or the compiler's own words
 */
export async function ensureGoBuild(build: GoBuild, folder: string, onProgress: (line: string) => void): Promise<void> {
  const names = build.commands.map((command) => command.split('/').at(-1) ?? command);
  const there = await Promise.all(names.map((name) => isExecutable(join(folder, name))));
  if (there.every(Boolean)) return;
  const environment = await goEnvironment(build.title, build.env);
  const work = `${folder}.building`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  let doing = 'fetching modules';
  let packages = 0;
  onProgress(`building ${build.title} from the Go module proxy (once): ${names.join(', ')}`);
  const ticker = tellEvery(10_000, (seconds) => onProgress(`building ${build.title}: ${seconds} s, ${doing}`));
  try {
    await writeModule(build, work, environment);
    const result = await runCommand(
      'nice',
      [
        '-n',
        '10',
        environment.go,
        'build',
        '-mod=mod',
        '-v',
        `-ldflags=${linkerFlags(build)}`,
        '-o',
        `${work}/`,
        ...build.commands,
      ],
      {
        cwd: work,
        env: environment.env,
        onLine: (line) => {
          if (line.startsWith('go: downloading ')) doing = `fetching ${line.split(' ')[2] ?? 'modules'}`;
          else if (/^[\w.-]+(\/[^\s:]+)*$/u.test(line))
            doing = `${(packages += 1)} of about ${build.packages} packages compiled`;
        },
      },
    );
    if (result.code !== 0) {
      throw new ReleaseError(
        'internal',
        `${build.title} could not be built: ${result.problem ?? lastLines(result.output)}`,
        {
          hint: 'Check the network and the settings of the Go module proxy (go env GOPROXY), then start again.',
        },
      );
    }
    await mkdir(folder, { recursive: true });
    for (const name of names) await rename(join(work, name), join(folder, name));
  } finally {
    ticker.stop();
    await rm(work, { recursive: true, force: true });
  }
}

/** The folder of a module's published files, fetched if need be. */
export async function moduleFolder(module: string, version: string): Promise<string> {
  const { go, env } = await goEnvironment(module);
  const output = await execute(go, ['mod', 'download', '-json', `${module}@${version}`], { cwd: '/', env });
  const [, folder] = /"Dir": "([^"]+)"/u.exec(output) ?? [];
  if (folder === undefined)
    throw new ReleaseError('internal', `go mod download names no folder for ${module}@${version}.`);
  return folder;
}

interface GoEnvironment {
  readonly go: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The Go command and the environment to call it with. */
export async function goEnvironment(what: string, own: Readonly<Record<string, string>> = {}): Promise<GoEnvironment> {
  try {
    const go = await findGo(process.env, GO_NEEDED);
    // A checkout of somebody's own has nothing to do with what is built.
    return { go: go.path, env: { ...process.env, GOTOOLCHAIN: 'auto', GOFLAGS: '-buildvcs=false', ...own } };
  } catch (error) {
    throw new ReleaseError('unsupported', `${what} cannot be built: ${messageOf(error)}.`, {
      hint: `Install Go >= ${OLDEST_GO} and put it on the PATH.`,
    });
  }
}

async function writeModule(build: GoBuild, work: string, { go, env }: GoEnvironment): Promise<void> {
  const published = await moduleFolder(build.module, build.version);
  for (const name of ['go.mod', 'go.sum']) await copyFile(join(published, name), join(work, name));
  const edits = ['-module=sluice.example/lab', `-require=${build.module}@${build.version}`];
  if (build.siblings !== undefined) {
    const required = await readFile(join(published, 'go.mod'), 'utf8');
    const siblings = new Set([...required.matchAll(build.siblings.pattern)].map(([, name]) => name));
    for (const name of siblings) edits.push(`-replace=${name}=${name}@${build.siblings.version}`);
  }
  await execute('chmod', ['u+w', 'go.mod', 'go.sum'], { cwd: work });
  await execute(go, ['mod', 'edit', ...edits], { cwd: work, env });
}

function linkerFlags({ variables = {} }: GoBuild): string {
  return ['-s', '-w', ...Object.entries(variables).map(([name, value]) => `-X ${name}=${value}`)].join(' ');
}

function lastLines(output: string): string {
  return output.trim().split('\n').slice(-3).join(' ');
}
