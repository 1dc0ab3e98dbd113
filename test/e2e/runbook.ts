import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { findTemporalCli } from '../../src/devserver/find-temporal';
import type { Lab } from '../lab/lab';

/** A page of docs/runbooks, by the commands that it tells people to give. */
export class Runbook {
  readonly #text: string;

  constructor(
    root: string,
    readonly name: string,
  ) {
    this.#text = readFileSync(join(root, 'docs', 'runbooks', name), 'utf8');
  }

  /** The blocks of a section, in order; of what comes before the first section without a title. */
  section(title?: string): string[] {
    const text =
      title === undefined
        ? (this.#text.split(/^## /m)[0] ?? '')
        : (new RegExp(`^##+ ${title}\n(.*?)(?=^##+ |(?![^]))`, 'ms').exec(this.#text)?.[1] ?? '');
    const blocks = [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) =>
      // The page's example of a service; who gives the commands has a service of their own.
      (match[1] ?? '').replace(/^export NAMESPACE=.*\n/m, ''),
    );
    if (blocks.length === 0) throw new Error(`${this.name} has no commands under "${title ?? 'its title'}".`);
    return blocks;
  }

  /** A command within a sentence or a table. */
  inline(command: string): string {
    if (!this.#text.includes(`\`${command}\``)) throw new Error(`${this.name} does not say \`${command}\`.`);
    return command;
  }
}

/** As a person reads the page's example of a Service's selector, whose labels are others than the shop's. */
export function forTheShopsSelector(commands: string): string {
  return commands.replace('"sluice.dev/track": "stable"', '"app": "shop"');
}

export interface OnDutyOptions {
  /** Where `dist` is. */
  readonly root: string;
  readonly namespace: string;
  /** Of Temporal. */
  readonly address: string;
  /** Lies in the folder in which commands are given. */
  readonly spec?: string;
}

export interface Said {
  readonly code: number | null;
  /** Both streams, as a terminal shows them. */
  readonly text: string;
}

/** Somebody on duty: sluice, temporal and kubectl on the PATH, and where Temporal and the cluster are. */
export class OnDuty {
  private constructor(
    readonly folder: string,
    private readonly env: NodeJS.ProcessEnv,
  ) {}

  static async begin(lab: Lab, { root, namespace, address, spec }: OnDutyOptions): Promise<OnDuty> {
    const { path } = await findTemporalCli({ onProgress: () => undefined });
    const folder = mkdtempSync(join(tmpdir(), 'sluice-on-duty-'));
    const main = join(root, 'dist', 'cli', 'main.js');
    writeFileSync(join(folder, 'sluice'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 });
    if (spec !== undefined) writeFileSync(join(folder, 'release.yaml'), spec);
    return new OnDuty(folder, {
      ...process.env,
      PATH: [folder, dirname(path), dirname(lab.kubectl), process.env['PATH'] ?? ''].join(delimiter),
      NAMESPACE: namespace,
      SERVICE: 'shop',
      KUBECONFIG: lab.kubeconfig,
      TEMPORAL_ADDRESS: address,
      TEMPORAL_NAMESPACE: 'default',
    });
  }

  /** For as long as `act` takes, however it ends. */
  static async during(lab: Lab, options: OnDutyOptions, act: (onDuty: OnDuty) => Promise<void>): Promise<void> {
    const onDuty = await OnDuty.begin(lab, options);
    try {
      await act(onDuty);
    } finally {
      onDuty.end();
    }
  }

  /** Gives commands, the next only after the one before went well. */
  async give(...commands: readonly string[]): Promise<Said> {
    const script = commands.join('\n');
    const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
      cwd: this.folder,
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (said: string) => (text = `${text}${said}`.slice(-8_000)));
    }
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    return { code, text };
  }

  /** The same, where anything but success is a failure of the page. */
  async succeed(...commands: readonly string[]): Promise<string> {
    const { code, text } = await this.give(...commands);
    if (code !== 0) throw new Error(`The commands ended with ${String(code)}:\n${commands.join('\n')}\n${text}`);
    return text;
  }

  end(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
