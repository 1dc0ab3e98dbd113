import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';

const ROOT = path.join(__dirname, '..', '..');

const GitHubStep = z.strictObject({
  id: z.string().optional(),
  name: z.string().optional(),
  if: z.string().optional(),
  uses: z.string().optional(),
  with: z.record(z.string(), z.unknown()).optional(),
  shell: z.literal('bash').optional(),
  run: z.string().optional(),
});

const Variables = z.record(z.string(), z.string()).default({});

const GitHubWorkflow = z.object({
  env: Variables,
  jobs: z.record(
    z.string(),
    z.object({
      needs: z.string().optional(),
      env: Variables,
      outputs: Variables,
      steps: z.array(GitHubStep),
    }),
  ),
});
export type GitHubWorkflow = z.infer<typeof GitHubWorkflow>;

export function readGitHubWorkflow(file: string): GitHubWorkflow {
  return GitHubWorkflow.parse(parse(readFileSync(file, 'utf8')));
}

const GitLabJob = z.object({
  extends: z.string().optional(),
  script: z.array(z.string()).optional(),
  after_script: z.array(z.string()).optional(),
});
const GitLabFile = z.object({ stages: z.array(z.string()), variables: Variables }).catchall(GitLabJob);
export type GitLabFile = z.infer<typeof GitLabFile>;

export function readGitLabFile(file: string): GitLabFile {
  return GitLabFile.parse(parse(readFileSync(file, 'utf8')));
}

export interface JobEnd {
  readonly code: number | null;
  /** Everything its scripts printed. */
  readonly log: string;
}

/** A folder as a runner's checkout of the user's repository, and the scripts of jobs run in it as the runner does. */
export class Checkout {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'sluice-ci-'));
  readonly #env: Readonly<Record<string, string>>;

  /** `env` is what the runner itself sets. */
  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
  }

  write(file: string, text: string): void {
    writeFileSync(path.join(this.folder, file), text);
  }

  read(file: string): string {
    const place = path.join(this.folder, file);
    return existsSync(place) ? readFileSync(place, 'utf8') : '';
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  /**
   * Runs the `run` steps of a job one after the other. `values` are the workflow's expressions; what is not among them is
   * an error. Steps that use an action are left out, but for Sluice's own checkout, which is this one.
   */
  async runGitHubJob(
    workflow: GitHubWorkflow,
    name: string,
    values: Readonly<Record<string, string>>,
    onStep: (step: string, child: ChildProcess) => void = () => undefined,
  ): Promise<JobEnd> {
    const job = workflow.jobs[name];
    if (job === undefined) throw new Error(`there is no job ${name}`);
    if (!existsSync(path.join(this.folder, '.sluice'))) symlinkSync(ROOT, path.join(this.folder, '.sluice'));
    for (const file of ['path', 'summary', 'output']) this.write(`github-${file}`, '');
    const env = {
      ...fillIn({ ...workflow.env, ...job.env }, values),
      GITHUB_ACTIONS: 'true',
      GITHUB_WORKSPACE: this.folder,
      GITHUB_PATH: path.join(this.folder, 'github-path'),
      GITHUB_STEP_SUMMARY: path.join(this.folder, 'github-summary'),
      GITHUB_OUTPUT: path.join(this.folder, 'github-output'),
    };
    let failed: number | null = 0;
    let log = '';
    for (const step of job.steps) {
      if (step.run === undefined || (failed !== 0 && step.if !== 'always()')) continue;
      this.write('step.sh', step.run);
      const added = this.read('github-path').trim();
      const end = await this.#run(['--noprofile', '--norc', '-eo', 'pipefail', 'step.sh'], {
        env: added === '' ? env : { ...env, PATH: `${added}:${this.#path()}` },
        onStart: (child) => onStep(step.name ?? step.id ?? '', child),
      });
      log += end.log;
      if (failed === 0) failed = end.code;
    }
    return { code: failed, log };
  }

  /** Runs a job's script as one, and after it, whatever came of it, its `after_script` as another. */
  async runGitLabJob(file: GitLabFile, name: string, values: Readonly<Record<string, string>>): Promise<JobEnd> {
    const own = file[name] as z.infer<typeof GitLabJob>;
    const base = own.extends === undefined ? {} : (file[own.extends] as z.infer<typeof GitLabJob>);
    const job = { ...base, ...own };
    const env = { ...file.variables, ...values, GITLAB_CI: 'true', PATH: `${ROOT}/scripts:${this.#path()}` };
    const ends: JobEnd[] = [];
    for (const lines of [job.script, job.after_script]) {
      if (lines === undefined) continue;
      this.write('job.sh', ['set -eo pipefail', ...lines].join('\n'));
      ends.push(await this.#run(['job.sh'], { env }));
    }
    return { code: ends[0]?.code ?? null, log: ends.map(({ log }) => log).join('') };
  }

  /** Runs one command line as a person would. */
  async run(command: string, env: Readonly<Record<string, string>>): Promise<JobEnd> {
    return this.#run(['-c', command], { env: { ...env, PATH: `${ROOT}/scripts:${this.#path()}` } });
  }

  #path(): string {
    return `${path.dirname(process.execPath)}:${process.env['PATH'] ?? ''}`;
  }

  async #run(
    args: readonly string[],
    { env, onStart }: { env: Readonly<Record<string, string>>; onStart?: (child: ChildProcess) => void },
  ): Promise<JobEnd> {
    const kept = ['HOME', 'SLUICE_CACHE', 'XDG_CACHE_HOME', 'TMPDIR'].flatMap((key) => {
      const value = process.env[key];
      return value === undefined ? [] : [[key, value] as const];
    });
    const child = spawn('bash', args, {
      cwd: this.folder,
      env: { ...Object.fromEntries(kept), PATH: this.#path(), CI: 'true', ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
    onStart?.(child);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, log };
  }
}

/** Variables with their `${{ … }}` filled in. */
function fillIn(
  variables: Readonly<Record<string, string>>,
  values: Readonly<Record<string, string>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).map(([key, text]) => [
      key,
      text.replace(/\$\{\{ (.+?) \}\}/g, (_, expression: string) => {
        const value = values[expression];
        if (value === undefined) throw new Error(`${key}: the test has no value for ${expression}`);
        return value;
      }),
    ]),
  );
}
