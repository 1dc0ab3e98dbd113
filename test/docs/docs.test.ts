import { execFile } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createCli } from '../../src/cli/create-cli';
import { buildProgram } from '../../src/cli/program';
import { parseSpec } from '../../src/spec/load';
import { plan } from '../../src/spec/plan';
import { FAULT_GRACES } from '../../src/targets/kubernetes/pod-faults';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { fencedBlocks } from '../examples/markdown';
import { allOptions, sluiceCalls, unknownIn } from './command-lines';

const ROOT = path.join(__dirname, '..', '..');
const PAGES = [
  'README.md',
  ...readdirSync(path.join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const read = (page: string): string => readFileSync(path.join(ROOT, page), 'utf8');
const run = promisify(execFile);

/** The targets of a page's links that are neither addresses nor mail. */
function relativeLinks(page: string): string[] {
  const text = read(page)
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, '');
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? '')
    .filter((link) => !/^[a-z]+:/i.test(link));
}

/** The anchors that the headings of a page get on GitHub. */
function anchorsOf(page: string): string[] {
  const headings = read(page)
    .replace(/^```.*?^```$/gms, '')
    .matchAll(/^#+ (.+)$/gm);
  return [...headings].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  );
}

describe.each(PAGES)('the links of %s', (page) => {
  it('lead to files that exist, and to headings that these have', () => {
    const broken = relativeLinks(page).filter((link) => {
      const [file = '', anchor] = link.split('#');
      const target = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
      if (!existsSync(path.join(ROOT, target))) return true;
      return anchor !== undefined && target.endsWith('.md') && !anchorsOf(target).includes(anchor);
    });

    expect(broken).toEqual([]);
  });
});

describe("README.md's release.yaml", () => {
  const releases = fencedBlocks(read('README.md'), 'yaml').filter((block) => /^kind: Release$/m.test(block));

  it('is there once', () => {
    expect(releases).toHaveLength(1);
  });

  it('has no problem, and plans v2', () => {
    const parsed = parseSpec(releases[0] ?? '', 'release.yaml');

    expect(parsed).toMatchObject({ ok: true, warnings: [] });
    if (!parsed.ok) throw new Error('unreachable: it was just expected to be ok');
    expect(plan(parsed.spec, 'v2')).toMatchObject({ version: 'v2', service: 'shop', target: { kind: 'router' } });
  });
});

it("docs/kubernetes.md's blue-green release has no problem, and switches once", () => {
  const [text = ''] = fencedBlocks(read('docs/kubernetes.md'), 'yaml').filter((block) =>
    /strategy: blueGreen/.test(block),
  );
  const parsed = parseSpec(text, 'release.yaml');

  expect(parsed).toMatchObject({ ok: true, warnings: [] });
  if (!parsed.ok) throw new Error('unreachable: it was just expected to be ok');
  expect(plan(parsed.spec, 'checkout:2').steps.map((step) => step.name)).toEqual([
    ...['deploy', 'smoke test', 'approval', 'weight 100 %', 'promote'],
  ]);
});

it('docs/kubernetes.md says how long pods may be without a node, or refused by a quota', () => {
  const page = read('docs/kubernetes.md').replace(/\s+/gu, ' ');
  const [node, quota] = [FAULT_GRACES.unschedulableMs / 1000, FAULT_GRACES.refusedMs / 1000];

  expect(page).toContain(`on Events: it fails after ${node} s`);
  expect(page).toContain(`once nothing has moved for ${node} s`);
  expect(page).toContain(`Pods that a quota refuses have ${quota} s`);
});

describe('the command lines', () => {
  const program = buildProgram(createCli({}), () => undefined);

  it.each(['README.md', 'docs/cli.md', 'docs/flags.md'])('of %s name commands and options that exist', (page) => {
    const calls = sluiceCalls(read(page));

    expect(calls.length).toBeGreaterThan(5);
    expect(calls.flatMap((call) => unknownIn(program, call))).toEqual([]);
  });

  it('of docs/cli.md leave out no command', () => {
    const page = read('docs/cli.md');

    const names = program.commands.map((command) => command.name());

    expect(names.filter((name) => !new RegExp(`^### ${name}$|\`(sluice )?${name}\\b`, 'm').test(page))).toEqual([]);
  });

  it('of docs/cli.md speak of no option that no command has', () => {
    const options = allOptions(program);
    const named = [...read('docs/cli.md').matchAll(/`(--[a-z][a-z0-9-]*)/g)].map((match) => match[1] ?? '');

    expect(named.filter((option) => !options.has(option))).toEqual([]);
  });

  it.each([
    ['deplyo release.yaml', ['command deplyo']],
    ['deploy release.yaml --versoin v2', ['option --versoin of deploy']],
    ['rollback shop --reason "--now" --yes', []],
    ['--hepl', ['option --hepl of sluice']],
  ])('are checked: sluice %s', (call, unknown) => {
    expect(unknownIn(program, call)).toEqual(unknown);
  });
});

/** An app that asks itself once. */
const APP = `
import express from 'express';
import { createCohortRouter, expressCohortRouter } from 'sluice/router';

const quiet = { info() {}, warn() {}, error() {} };
const router = createCohortRouter({ service: 'shop', stableVersion: '1.4.1', logger: quiet, environment: {} });
const app = express();
app.use(expressCohortRouter(router));
app.get('/', (request, response) => response.json({ cohort: request.canary.cohort }));
const server = app.listen(0, '127.0.0.1', async () => {
  const answer = await fetch('http://127.0.0.1:' + server.address().port);
  console.log(answer.status + ' by ' + answer.headers.get('x-deployment-version') + ': ' + (await answer.text()));
  server.close();
  server.closeAllConnections();
});
`;

describe('the package', () => {
  beforeAll(builtSluice, BUILD_WITHIN_MS);

  it('has what it is for, and nothing of the benchmarks and the compiler', async () => {
    const { stdout } = await run('npm', ['pack', '--dry-run', '--json'], { cwd: ROOT, maxBuffer: 32 * 1024 * 1024 });
    const [packed] = JSON.parse(stdout) as [{ readonly files: readonly { readonly path: string }[] }];
    const files = packed.files.map((file) => file.path);

    expect(files).toEqual(
      expect.arrayContaining([
        'README.md',
        'dist/cli/main.js',
        'dist/router/index.d.ts',
        'dist/router/index.js',
        'dist/workflow-bundle.js',
        'schema/release.schema.json',
      ]),
    );
    expect(files.filter((file) => file.startsWith('dist/.bench') || file.endsWith('.tsbuildinfo'))).toEqual([]);
  });

  it('has a router that serves from the tarball alone, beside an Express of the app', async () => {
    const app = mkdtempSync(path.join(tmpdir(), 'sluice-app-'));
    try {
      await run('npm', ['pack', '--pack-destination', app], { cwd: ROOT });
      const tarball = readdirSync(app).find((name) => name.endsWith('.tgz')) ?? 'none was made';
      expect(read('docs/router.md')).toContain(tarball);
      const installed = path.join(app, 'node_modules', 'sluice');
      mkdirSync(installed, { recursive: true });
      await run('tar', ['-xzf', path.join(app, tarball), '-C', installed, '--strip-components', '1']);
      symlinkSync(path.join(ROOT, 'node_modules', 'express'), path.join(app, 'node_modules', 'express'));
      // A package of its own, so that no package.json further up is taken for it.
      writeFileSync(path.join(app, 'package.json'), '{ "name": "app", "private": true }');
      writeFileSync(path.join(app, 'app.mjs'), APP);

      const { stdout } = await run(process.execPath, ['app.mjs'], { cwd: app });

      expect(stdout).toBe('200 by 1.4.1: {"cohort":"stable"}\n');
    } finally {
      rmSync(app, { recursive: true, force: true });
    }
  });

  // By the package's own name and exports, as an app that has installed it does.
  it.each([
    ['required', ['-e', "console.log(typeof require('sluice/router').createCohortRouter)"]],
    [
      'imported',
      [
        '--input-type=module',
        '-e',
        "import { createCohortRouter } from 'sluice/router'; console.log(typeof createCohortRouter)",
      ],
    ],
  ])('has a router that can be %s', async (_how, args) => {
    const { stdout, stderr } = await run(process.execPath, args, { cwd: ROOT });

    expect({ stdout, stderr }).toEqual({ stdout: 'function\n', stderr: '' });
  });
});
