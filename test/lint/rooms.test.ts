import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';

const ROOT = path.join(__dirname, '../..');

/** A file that is there in each room: the linter wants to know what it belongs to. */
const FILE_OF: Readonly<Record<string, string>> = {
  analysis: 'src/analysis/verdict.ts',
  client: 'src/client/connect.ts',
  notify: 'src/notify/slack.ts',
  router: 'src/router/protocol.ts',
  spec: 'src/spec/plan.ts',
  traffic: 'src/traffic/fence.ts',
  workflows: 'src/workflows/soak.ts',
};

const REFUSED = [
  ['analysis', '../router'],
  ['analysis', '../router/protocol'],
  ['analysis', '../spec/plan'],
  ['analysis', 'node:fs'],
  ['analysis', 'axios'],
  ['client', '../workflows'],
  ['client', '../workflows/release'],
  ['client', '../cli/output'],
  ['notify', '../flags'],
  ['router', '../errors/x'],
  ['router', '../flags'],
  ['spec', '../workflows'],
  ['traffic', '../targets/target'],
  ['workflows', '../../router'],
  ['workflows', '../activities/measure'],
  ['workflows', '@temporalio/client'],
  ['workflows', 'axios'],
  ['workflows', 'crypto'],
  ['workflows', 'fs'],
  ['workflows', 'node:crypto'],
] as const;

const ALLOWED = [
  ['analysis', './verdict'],
  ['client', '../workflows/api'],
  ['client', '../errors'],
  ['traffic', '../errors'],
  ['workflows', './soak'],
  ['workflows', '../spec/plan-types'],
  ['workflows', '../analysis/verdict'],
  ['workflows', '@temporalio/workflow'],
] as const;

const PROGRAM = `
  import { ESLint } from 'eslint';
  const linter = new ESLint({ ruleFilter: ({ ruleId }) => ruleId === 'no-restricted-imports' });
  const said = {};
  for (const { name, filePath, code } of JSON.parse(process.argv[1])) {
    const [{ messages }] = await linter.lintText(code, { filePath });
    said[name] = messages.some(({ ruleId }) => ruleId === 'no-restricted-imports');
  }
  console.log(JSON.stringify(said));
`;

const run = promisify(execFile);

describe('which room may import which', () => {
  /** What the rule of imports says of each, by `room module`; the linter runs apart, because jest loads no ES modules. */
  let said: Readonly<Record<string, boolean>>;
  beforeAll(async () => {
    const asked = [...REFUSED, ...ALLOWED].map(([room, module]) => ({
      name: `${room} ${module}`,
      filePath: path.join(ROOT, FILE_OF[room] ?? ''),
      code: `export * from '${module}';\n`,
    }));
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', PROGRAM, JSON.stringify(asked)], {
      cwd: ROOT,
    });
    said = JSON.parse(stdout) as Record<string, boolean>;
  });

  it.each(REFUSED)('%s may not import %s', (room, module) => {
    expect(said[`${room} ${module}`]).toBe(true);
  });

  it.each(ALLOWED)('%s may import %s', (room, module) => {
    expect(said[`${room} ${module}`]).toBe(false);
  });

  it('is drawn in docs/architecture.md for every room there is', () => {
    const page = readFileSync(path.join(ROOT, 'docs/architecture.md'), 'utf8');
    const drawn = [...page.matchAll(/^\| `src\/([a-z]+)` /gmu)].map(([, room = '']) => room);
    const rooms = readdirSync(path.join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory());

    expect(drawn.toSorted()).toEqual(rooms.map(({ name }) => name).toSorted());
  });
});
