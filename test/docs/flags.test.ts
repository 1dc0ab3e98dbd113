import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';
import { freePort } from '../../src/devserver/free-port';
import { waitFor } from '../e2e-local/home';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { fencedBlocks } from '../examples/markdown';

const ROOT = path.join(__dirname, '..', '..');
const PAGE_PORT = '8014';
const page = readFileSync(path.join(ROOT, 'docs', 'flags.md'), 'utf8');
const [beginning = ''] = page.split(/^## /m);
const [setUp = '', release = '', taken = ''] = fencedBlocks(beginning, 'sh').map((block) => block.trim());
const end = /`(kill \$\(jobs -p\))`/.exec(beginning)?.[1] ?? 'exit 1 # the page no longer says how to end it';
const [byHttp = ''] = /^## By HTTP$.*?(?=^## )/ms.exec(page) ?? [];

/** Two releases of half a minute and a start of Temporal, on a machine that may be busy. */
const WITHIN_MS = 400_000;
/** How long one command may take; a release waits for its soaks. */
const COMMAND_WITHIN_MS = 180_000;

interface Said {
  readonly text: string;
  readonly code: number;
}

/** The shell of a new user: one for the whole page, so that `&`, `kill %3` and `jobs` mean there what they mean to them. */
class Shell {
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'sluice-flags-page-'));
  readonly #bash: ChildProcessWithoutNullStreams;
  readonly #closed: Promise<unknown>;
  readonly #port: number;
  #written = '';
  #asked = 0;

  constructor(sluice: string, port: number) {
    const folder = (name: string): string => {
      const made = path.join(this.#folder, name);
      mkdirSync(made);
      return made;
    };
    this.#port = port;
    const bin = folder('bin');
    symlinkSync(sluice, path.join(bin, 'sluice'));
    this.#bash = spawn('bash', ['--noprofile', '--norc'], {
      cwd: ROOT,
      env: {
        PATH: [bin, path.dirname(process.execPath), process.env['PATH']].join(path.delimiter),
        HOME: folder('home'),
        LANG: 'C.UTF-8',
        TMPDIR: folder('tmp'),
        XDG_CONFIG_HOME: folder('config'),
        XDG_DATA_HOME: folder('data'),
        XDG_STATE_HOME: folder('state'),
        SLUICE_CACHE: cacheDirectory(),
        SLUICE_ACTOR: 'ada',
        // The page's port may be taken on this machine.
        SLUICE_FLAGS_URL: `http://127.0.0.1:${port}`,
      },
      // A group of its own, with all that it starts.
      detached: true,
    });
    this.#closed = once(this.#bash, 'close');
    for (const stream of [this.#bash.stdout, this.#bash.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.#written += text));
    }
  }

  /** All that was printed so far. */
  get written(): string {
    return this.#written;
  }

  /** Types what the page says, and waits until the prompt would be back. */
  async type(commands: string): Promise<Said> {
    const from = this.#written.length;
    this.#asked += 1;
    // Not at the beginning of a line: an answer by HTTP has no end of line.
    const done = new RegExp(`done ${this.#asked} with (\\d+)$`, 'm');
    const here = commands
      .replaceAll(`127.0.0.1:${PAGE_PORT}`, `127.0.0.1:${this.#port}`)
      .replace('sluice flags-server', `$& --port ${this.#port}`);
    // What the commands could read is what is typed next.
    this.#bash.stdin.write(`{\n${here}\n} </dev/null\necho "done ${this.#asked} with $?"\n`);
    const code = await waitFor(() => {
      if (this.#bash.exitCode !== null) throw new Error(`the shell has ended: ${this.#written}`);
      return done.exec(this.#written.slice(from))?.[1] ?? null;
    }, COMMAND_WITHIN_MS);
    return { text: this.#written.slice(from), code: Number(code) };
  }

  async close(): Promise<void> {
    try {
      await this.type(end);
      this.#bash.stdin.end('wait\n');
    } catch (error) {
      // Else what it started would outlive the test.
      if (this.#bash.pid !== undefined) process.kill(-this.#bash.pid, 'SIGTERM');
      throw error;
    } finally {
      await this.#closed;
      rmSync(this.#folder, { recursive: true, force: true });
    }
  }
}

describe("the first commands of docs/flags.md, in a new user's shell", () => {
  let shell: Shell;

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);

  beforeAll(async () => {
    shell = new Shell(await builtSluice(), await freePort());
    await shell.type(setUp);
    await waitFor(() => (/^Ready:/m.test(shell.written) && /^The shop is open/m.test(shell.written) ? true : null));
  }, WITHIN_MS);

  afterAll(() => shell.close(), WITHIN_MS);

  it('are one line of set-up, and three that create a flag, check it and release it', () => {
    expect(setUp.split('\n')).toHaveLength(1);
    expect(release.split('\n').map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
      'sluice flag set',
      'sluice flag check',
      'sluice flag release',
    ]);
  });

  // In the order of the page: each goes on from what the one before has left.
  it(
    'take the flag to 100 percent, judged by what the shop reports',
    async () => {
      const [create = '', check = '', deploy = ''] = release.split('\n');

      expect(await shell.type(create)).toMatchObject({ code: 0, text: expect.stringMatching(/^Percentage +0 %$/m) });
      const checked = await shell.type(check);
      expect(checked.code).toBe(0);
      // It is what the page shows.
      const [shown = ''] = fencedBlocks(beginning, '').map((block) => block.split('\n')[0] ?? '');
      expect(checked.text).toContain(`${shown}\n`);

      const { text, code } = await shell.type(deploy);

      expect({ code, text: code === 0 ? '' : text }).toEqual({ code: 0, text: '' });
      const weights = [...text.matchAll(/✔ Weight \d+ % → (\d+) %\./g)].map((match) => Number(match[1]));
      expect(weights).toEqual([10, 50, 100]);
      // Real outcomes of both sides, and none of them bad.
      expect(text).toMatch(/10 % ✔ pass: 0 of [1-9]\d* canary requests failed .*; stable: 0 of [1-9]\d* \(0 %\)/);
      expect(text).toContain('100 % ✔ Flag new-checkout is on for everybody.');
      expect((await shell.type(check)).text).toContain('new-checkout is on for user-1');
    },
    WITHIN_MS,
  );

  it(
    'and the broken checkout is taken back to 0 percent',
    async () => {
      const [restart = '', reset = '', deploy = ''] = taken.split('\n');
      await shell.type(restart);
      await waitFor(() => (shell.written.includes('the new one is broken') ? true : null));
      expect((await shell.type(reset)).code).toBe(0);

      const { text, code } = await shell.type(deploy);

      expect(code).toBe(3);
      expect(text).toMatch(/ % ✖ FAIL: \d+ of \d+ canary requests failed .*, more than the allowed 5 %/);
      expect(text).toMatch(/ 0 % ✖ Rolled back to 0 %: /);
      expect((await shell.type('sluice flag get new-checkout')).text).toMatch(/^Percentage +0 %$/m);
    },
    WITHIN_MS,
  );

  it('and those by HTTP answer as the page shows', async () => {
    const [create = '', raise = ''] = fencedBlocks(byHttp, 'sh');
    const [shown = ''] = fencedBlocks(byHttp, 'json');

    const { text, code } = await shell.type(create);

    expect(code).toBe(0);
    const answer = text.slice(text.lastIndexOf('{"flag":'), text.lastIndexOf('done '));
    expect(JSON.parse(answer)).toEqual(JSON.parse(shown));
    expect((await shell.type(raise)).text).toContain('"rollout_percentage":21');
    expect((await shell.type('sluice flag check dark-mode user-1')).text).toContain('dark-mode is on for user-1');
  });
});
