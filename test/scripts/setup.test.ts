import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * scripts/sluice and its set-up, run for real in a small project of their own. Node, npm and the compiler are fakes on
 * a PATH that has nothing else but the few tools every system has, so that no test depends on what this machine has.
 */
const repository = path.resolve(__dirname, '../..');
const TOOLS = 'bash sh env dirname basename mkdir rm mv cp cmp find head tail grep cat touch ln readlink uname sleep';

let folder: string;
let project: string;
let bin: string;

beforeEach(() => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'sluice-setup-')));
  project = path.join(folder, 'project');
  bin = path.join(folder, 'bin');
  for (const name of ['src/cli', 'scripts/lib']) mkdirSync(path.join(project, name), { recursive: true });
  for (const name of ['sluice', 'demo', 'lib/setup.sh']) {
    cpSync(path.join(repository, 'scripts', name), path.join(project, 'scripts', name));
  }
  writeFileSync(path.join(project, 'package.json'), '{}');
  writeFileSync(path.join(project, 'package-lock.json'), '{ "lock": 1 }');
  writeFileSync(path.join(project, 'tsconfig.build.json'), '{}');
  writeFileSync(path.join(project, 'src/cli/main.ts'), 'console.log(JSON.stringify(process.argv.slice(2)))');
  writeFileSync(
    path.join(project, 'scripts/lib/bundle-workflows.cjs'),
    "require('node:fs').writeFileSync('dist/workflow-bundle.js', '')",
  );
  mkdirSync(bin);
  for (const tool of TOOLS.split(' ')) {
    const found = ['/bin', '/usr/bin'].map((dir) => path.join(dir, tool)).find((file) => existsSync(file));
    if (found === undefined) throw new Error(`this system has no ${tool}`);
    symlinkSync(found, path.join(bin, tool));
  }
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function begin(args: readonly string[] = [], script = path.join(project, 'scripts/sluice')): ReturnType<typeof spawn> {
  return spawn(script, args, {
    cwd: folder,
    env: { PATH: bin, HOME: folder, SLUICE_CACHE: path.join(folder, 'cache') },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function end(child: ReturnType<typeof spawn>): Promise<Run> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk) => (stdout += String(chunk)));
  child.stderr?.on('data', (chunk) => (stderr += String(chunk)));
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr };
}

const sluice = (...args: string[]): Promise<Run> => end(begin(args));

function script(file: string, body: string): void {
  mkdirSync(path.dirname(file), { recursive: true });
  rmSync(file, { force: true });
  writeFileSync(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}

/** A Node that says it is of that version, and is this one otherwise. */
function nodeOf(version: string): string {
  return `[ "$1" = --version ] && { echo v${version}; exit; }\nexec '${process.execPath}' "$@"`;
}

function haveNode(version: string): void {
  script(path.join(bin, 'node'), nodeOf(version));
}

/** Writes what a compiler would, or fails as one would; `waitFor` a file makes it last until the file is there. */
const COMPILER = `
  const fs = require('node:fs');
  fs.appendFileSync('../compiled', '.');
  const source = fs.readFileSync('src/cli/main.ts', 'utf8');
  (async () => {
    while (source.includes('SLOW') && !fs.existsSync('../go-on')) await new Promise((r) => setTimeout(r, 20));
    if (source.includes('ERROR')) { console.log('src/cli/main.ts(1,1): error TS1: wrong'); process.exit(2); }
    fs.mkdirSync('dist/cli', { recursive: true });
    fs.writeFileSync('dist/cli/main.js', source);
  })();
`;

/** An npm that "installs" the fakes; every call is a line in `npm-calls`. */
function haveNpm(before = ''): void {
  script(
    path.join(bin, 'npm'),
    `echo "$*" >>'${folder}/npm-calls'
    ${before}
    case "$1" in
      install)
        for last; do :; done
        target="$3/node_modules/\${last%@*}/bin"
        mkdir -p "$target"
        cp '${folder}/fetched-node' "$target/node" ;;
      ci)
        mkdir -p node_modules/typescript/bin
        cp '${folder}/compiler.js' node_modules/typescript/bin/tsc
        echo '{}' >node_modules/.package-lock.json ;;
      config) echo 'https://packages.example/' ;;
    esac`,
  );
  script(path.join(folder, 'fetched-node'), nodeOf('24.1.0'));
  writeFileSync(path.join(folder, 'compiler.js'), COMPILER);
}

function npmCalls(): readonly string[] {
  const file = path.join(folder, 'npm-calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

function compilations(): number {
  const file = path.join(folder, 'compiled');
  return existsSync(file) ? readFileSync(file, 'utf8').length : 0;
}

/**
 * Changes a file as a person would a minute after the last set-up, so that file systems with coarse clocks see it, too:
 * what the set-up left is made older, for a file from the future would stay newer than the next build.
 */
function edit(file: string, text: string): void {
  writeFileSync(path.join(project, file), text);
  ageSetup();
}

function ageSetup(): void {
  const earlier = new Date(Date.now() - 60_000);
  for (const left of ['dist/.sluice-built', 'node_modules/.package-lock.json']) {
    if (existsSync(path.join(project, left))) utimesSync(path.join(project, left), earlier, earlier);
  }
}

async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not within 20 s: ${what}`);
    await delay(20);
  }
}

describe('a fresh checkout', () => {
  it('installs and builds, with progress on stderr and nothing but the result on stdout', async () => {
    haveNode('24.0.0');
    haveNpm();

    const run = await sluice('list', 'a b');

    expect(run).toMatchObject({ code: 0, stdout: '["list","a b"]\n' });
    expect(run.stderr).toContain('sluice: installing the dependencies (npm ci) ...');
    expect(run.stderr).toContain('sluice: building (tsc) ...');
    expect(npmCalls().map((call) => call.split(' ')[0])).toEqual(['ci']);
  });

  it('is silent and does nothing the second time', async () => {
    haveNode('24.0.0');
    haveNpm();
    await sluice();

    const run = await sluice('again');

    expect(run).toEqual({ code: 0, stdout: '["again"]\n', stderr: '' });
    expect(npmCalls()).toHaveLength(1);
    expect(compilations()).toBe(1);
  });

  it('is set up from any folder and through symbolic links', async () => {
    haveNode('24.0.0');
    haveNpm();
    mkdirSync(path.join(folder, 'elsewhere'));
    symlinkSync('../project/scripts/demo', path.join(folder, 'elsewhere/demo'));
    symlinkSync('elsewhere/demo', path.join(folder, 'link'));

    const run = await end(begin(['--json'], path.join(folder, 'link')));

    expect(run).toMatchObject({ code: 0, stdout: '["demo","--json"]\n' });
  });

  it('is set up once when two start at the same time', async () => {
    haveNode('24.0.0');
    haveNpm();

    const runs = await Promise.all([sluice('1'), sluice('2')]);

    expect(runs.map((run) => [run.code, run.stdout])).toEqual([
      [0, '["1"]\n'],
      [0, '["2"]\n'],
    ]);
    expect(npmCalls()).toHaveLength(1);
    expect(compilations()).toBe(1);
  });
});

describe('Node', () => {
  it.each([
    ['is too old', '20.20.2'],
    ['lacks a minor version', '22.18.0'],
  ])('is fetched when the one there %s, and then found again', async (_what, version) => {
    haveNode(version);
    haveNpm();

    const first = await sluice('x');
    const second = await sluice('x');

    expect(first).toMatchObject({ code: 0, stdout: '["x"]\n' });
    expect(first.stderr).toContain(`fetching Node 24 (this machine has v${version}, Sluice needs >= 22.19)`);
    expect(second).toEqual({ code: 0, stdout: '["x"]\n', stderr: '' });
    expect(npmCalls().map((call) => call.split(' ')[0])).toEqual(['install', 'ci']);
    expect(npmCalls()[0]).toMatch(/ node-(bin-)?(linux|darwin)-(x64|arm64)@\^24$/);
    expect(readdirSync(path.join(folder, 'cache/node'))).toEqual(['dl', 'npm.log']);
  });

  it.each(['22.19.0', '24.0.0', '26.1.0'])('%s is taken as it is', async (version) => {
    haveNode(version);
    haveNpm();

    await sluice();

    expect(existsSync(path.join(folder, 'cache'))).toBe(false);
  });

  it.each([
    ['Node is too old', () => haveNode('18.0.0'), 'v18.0.0'],
    ['there is no Node', () => undefined, 'none'],
  ])('is asked for in one sentence when %s and there is no npm', async (_what, arrange, have) => {
    arrange();

    const run = await sluice();

    expect(run).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `sluice: Sluice needs Node >= 22.19, this machine has ${have}, and without npm none can be fetched.\n` +
        '        Install Node >= 22.19 with npm (any way you like) and put it on the PATH.\n',
    });
  });

  it('is asked for in one sentence when the registry cannot be reached', async () => {
    haveNode('18.0.0');
    haveNpm('[ "$1" = config ] || { echo "npm error code ENOTFOUND" >&2; exit 1; }');

    const run = await sluice();

    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toContain(
      'sluice: Node 24 could not be fetched: the package registry (https://packages.example/) cannot be used (ENOTFOUND).\n' +
        "        Check the network and npm's proxy and registry settings. Or install Node >= 22.19 yourself and put it on the PATH.\n",
    );
    expect(existsSync(path.join(folder, 'cache/node/dl'))).toBe(false);
  });

  it('is asked for when the one that was fetched does not run here', async () => {
    haveNode('18.0.0');
    haveNpm();
    script(path.join(folder, 'fetched-node'), 'exit 127');

    const run = await sluice();

    expect(run).toMatchObject({ code: 1, stdout: '' });
    expect(run.stderr).toMatch(/The Node that was fetched \(.*\) does not run on this machine\.\n {8}[Ii]nstall Node/);
  });
});

describe('dependencies', () => {
  it('are installed again when the lock file has changed', async () => {
    haveNode('24.0.0');
    haveNpm();
    await sluice();
    edit('package-lock.json', '{ "lock": 2 }');

    const run = await sluice();

    expect(run.stderr).toContain('installing the dependencies');
    expect(npmCalls()).toHaveLength(2);
  });

  it('that were installed by hand are left alone', async () => {
    haveNode('24.0.0');
    haveNpm();
    mkdirSync(path.join(project, 'node_modules/typescript/bin'), { recursive: true });
    writeFileSync(path.join(project, 'node_modules/typescript/bin/tsc'), COMPILER);
    writeFileSync(path.join(project, 'node_modules/.package-lock.json'), '{}');

    const run = await sluice('x');

    expect(run).toMatchObject({ code: 0, stdout: '["x"]\n' });
    expect(npmCalls()).toEqual([]);
  });

  it.each([
    ['the registry cannot be reached', 'npm error code ECONNREFUSED', 'cannot be used (ECONNREFUSED)'],
    ['the disk is full', 'npm error code ENOSPC', 'the disk is full (ENOSPC)'],
    ['the lock file does not fit', 'npm error code EUSAGE', 'package.json and package-lock.json do not fit together'],
    ['npm fails otherwise', 'npm error surprising', 'npm failed (its words are above'],
  ])('that cannot be installed because %s are one sentence, and tried again', async (_what, words, sentence) => {
    haveNode('24.0.0');
    haveNpm(`[ "$1" = config ] || { echo '${words}' >&2; exit 1; }`);
    const failed = await sluice();
    haveNpm();

    const run = await sluice('x');

    expect(failed).toMatchObject({ code: 1, stdout: '' });
    expect(failed.stderr).toContain('The dependencies could not be installed: ');
    expect(failed.stderr).toContain(sentence);
    expect(run).toMatchObject({ code: 0, stdout: '["x"]\n' });
  });
});

describe('the build', () => {
  beforeEach(async () => {
    haveNode('24.0.0');
    haveNpm();
    await sluice();
  });

  it('is done again when a source has changed', async () => {
    edit('src/cli/main.ts', 'console.log("changed")');

    expect(await sluice()).toMatchObject({ code: 0, stdout: 'changed\n' });
    expect(compilations()).toBe(2);
  });

  it('is done again when a source was removed', async () => {
    edit('src/cli/other.ts', '');
    await sluice();
    const earlier = new Date(Date.now() - 120_000);
    for (const file of ['src', 'src/cli/main.ts', 'src/cli/other.ts', 'package-lock.json', 'tsconfig.build.json']) {
      utimesSync(path.join(project, file), earlier, earlier);
    }
    utimesSync(path.join(project, 'scripts/lib/bundle-workflows.cjs'), earlier, earlier);
    ageSetup();
    rmSync(path.join(project, 'src/cli/other.ts'));

    await sluice();

    // Nothing but the folder it was in is newer than the last build.
    expect(compilations()).toBe(3);
  });

  it('is done again when dist is gone', async () => {
    rmSync(path.join(project, 'dist'), { recursive: true });

    expect(await sluice('x')).toMatchObject({ code: 0, stdout: '["x"]\n' });
  });

  it('shows the compiler output and one sentence when it fails, each time until it is corrected', async () => {
    edit('src/cli/main.ts', 'ERROR');
    const runs = [await sluice(), await sluice()];
    edit('src/cli/main.ts', 'console.log("corrected")');

    for (const run of runs) {
      expect(run).toMatchObject({ code: 1, stdout: '' });
      expect(run.stderr).toContain(
        'src/cli/main.ts(1,1): error TS1: wrong\nsluice: The build failed: the sources do not compile (see above).',
      );
    }
    expect(await sluice()).toMatchObject({ code: 0, stdout: 'corrected\n' });
  });

  it('ends its compiler on SIGTERM, and is done again', async () => {
    edit('src/cli/main.ts', 'console.log("SLOW")');
    const child = begin();
    const ended = end(child);
    await until('it compiles', () => compilations() === 2);

    child.kill('SIGTERM');

    // It ends although the compiler would wait for ever, and only after the compiler has ended: that has the pipes, too.
    expect((await ended).code).toBe(143);
    expect(lstatSync(path.join(project, '.sluice/setup.lock'), { throwIfNoEntry: false })).toBeUndefined();
    writeFileSync(path.join(folder, 'go-on'), '');
    expect(await sluice()).toMatchObject({ code: 0, stdout: 'SLOW\n' });
  });

  it('is done again after SIGKILL left its lock behind', async () => {
    edit('src/cli/main.ts', 'console.log("SLOW")');
    const child = begin();
    const ended = end(child);
    await until('it compiles', () => compilations() === 2);

    child.kill('SIGKILL');
    writeFileSync(path.join(folder, 'go-on'), '');
    await ended;

    expect(lstatSync(path.join(project, '.sluice/setup.lock'), { throwIfNoEntry: false })).toBeDefined();
    expect(await sluice()).toMatchObject({ code: 0, stdout: 'SLOW\n' });
    expect(lstatSync(path.join(project, '.sluice/setup.lock'), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('waits for the one that another start does, and says so', async () => {
    edit('src/cli/main.ts', 'console.log("SLOW")');
    const first = begin();
    const firstEnded = end(first);
    await until('it compiles', () => compilations() === 2);

    const second = begin();
    let told = '';
    second.stderr?.on('data', (chunk) => (told += String(chunk)));
    const secondEnded = end(second);
    await until('the second one says that it waits', () => told.includes(`waiting for process ${first.pid}`));
    writeFileSync(path.join(folder, 'go-on'), '');

    expect([(await firstEnded).stdout, (await secondEnded).stdout]).toEqual(['SLOW\n', 'SLOW\n']);
    expect(compilations()).toBe(2);
  });
});
