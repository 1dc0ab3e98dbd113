import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseScript } from '../../src/cli/simulation-script';
import { run } from './harness';

const EXAMPLE = path.join(__dirname, '../../examples/shop/release.yaml');

const WRONG = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    kubernetes: { deployment: checkout, service: checkout, traffic: { gatewayAPI: { httpRoute: checkout } } }
  steps:
    - { weight: 25, soack: 60s }
    - { weight: 5, soak: 60 parsecs }
  analysis:
    source: { prometheus: { url: "http://127.0.0.1:9" } }
    preset: http
`;

let directory: string;
let wrong: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-cli-'));
  wrong = path.join(directory, 'wrong.yaml');
  await writeFile(wrong, WRONG);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

describe('sluice validate', () => {
  it('says that a file is valid', async () => {
    expect(await run(['validate', EXAMPLE])).toEqual({ code: 0, out: `✔ ${EXAMPLE} is valid.\n`, err: '' });
  });

  it('prints every problem with its place and the nearest key, and ends with code 2', async () => {
    const ran = await run(['validate', wrong]);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain(`${wrong}:8:21: unknown key "soack"`);
    expect(ran.err).toContain('did you mean "soak"?');
    expect(ran.err).toMatch(/wrong\.yaml:9:\d+: .*parsecs/u);
  });

  it('answers machines with all problems of all files', async () => {
    const ran = await run(['validate', EXAMPLE, wrong, '--json']);

    expect(ran.code).toBe(2);
    expect(JSON.parse(ran.out)).toMatchObject({
      kind: 'Validation',
      valid: false,
      files: [
        { file: EXAMPLE, valid: true, problems: [] },
        {
          file: wrong,
          valid: false,
          problems: expect.arrayContaining([expect.objectContaining({ line: 8, column: 21 })]),
        },
      ],
    });
  });

  it('says which file it cannot read', async () => {
    const ran = await run(['validate', path.join(directory, 'none.yaml')]);

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('none.yaml does not exist');
  });
});

describe('sluice plan', () => {
  it('prints steps, times, metrics and their queries', async () => {
    const ran = await run(['plan', EXAMPLE, '--version', 'v2']);

    expect(ran).toMatchObject({ code: 0, err: '' });
    for (const text of ['demo/shop v2 (router)', 'weight 25 %', 'approval', 'error-rate', 'max 5%', 'counters']) {
      expect(ran.out).toContain(text);
    }
  });

  it('prints the plan itself for machines', async () => {
    const ran = await run(['plan', EXAMPLE, '--version', 'v2', '-o', 'json']);

    expect(JSON.parse(ran.out)).toMatchObject({
      apiVersion: 'sluice.dev/v1',
      kind: 'Plan',
      service: 'shop',
      version: 'v2',
    });
  });

  it('prints problems instead where the file has some', async () => {
    const ran = await run(['plan', wrong, '--version', 'v2']);

    expect(ran).toMatchObject({ code: 2, out: '' });
    expect(ran.err).toContain('soack');
    expect((await run(['plan', EXAMPLE])).code).toBe(2);
  });
});

describe('sluice schema', () => {
  it('prints a JSON Schema', async () => {
    const ran = await run(['schema']);

    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.out)).toMatchObject({ type: 'object', properties: { spec: { type: 'object' } } });
    expect((await run(['schema', '-o', 'yaml'])).out.startsWith('---\n')).toBe(true);
  });
});

describe('a script to simulate', () => {
  it('is a name or a file', async () => {
    const file = path.join(directory, 'script.yaml');
    await writeFile(
      file,
      '- { fromWeight: 0, errorRate: 0, p95: 0.1 }\n- { fromWeight: 50, errorRate: 0.5, p95: 0.1, noData: true }\n',
    );

    expect(await parseScript('healthy')).toHaveLength(1);
    expect(await parseScript('failing')).toEqual([{ fromWeight: 0, errorRate: 0.2, p95: 2.5 }]);
    expect(await parseScript('no-data')).toEqual([expect.objectContaining({ noData: true })]);
    expect(await parseScript(file)).toEqual([
      { fromWeight: 0, errorRate: 0, p95: 0.1 },
      { fromWeight: 50, errorRate: 0.5, p95: 0.1, noData: true },
    ]);
  });

  it.each(['failing@101', 'nothing', 'BROKEN'])('refuses %s with a sentence', async (text) => {
    const file = path.join(directory, 'broken.yaml');
    await writeFile(file, '- { fromWeight: 0, errorRate: 7 }\n');

    await expect(parseScript(text === 'BROKEN' ? file : text)).rejects.toMatchObject({
      name: 'ReleaseError',
      code: 'usage',
    });
  });
});
