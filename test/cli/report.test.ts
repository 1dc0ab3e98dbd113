import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { renderReleaseReport } from '../../src/report/release-report';
import { dangersOf, readPage } from '../report/page';
import { FakeSluice } from './fake-client';
import { run, start } from './harness';
import { aRolledBackStatus, START } from './statuses';

const EXAMPLE = path.join(__dirname, '../../examples/shop/release.yaml');
const MONITOR = ['monitor', EXAMPLE, '--duration', '60ms', '--interval', '20ms'];

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-report-'));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

const file = (name: string): string => path.join(directory, name);

describe('sluice explain --report', () => {
  it('writes the whole release beside what it prints, over an older report', async () => {
    const target = file('release.html');
    await writeFile(target, 'x'.repeat(1_000_000));
    const client = new FakeSluice(aRolledBackStatus());
    const plain = await run(['explain', 'shop/checkout', '--step', '4'], { client });

    const ran = await run(['explain', 'shop/checkout', '--step', '4', '--report', target], { client });

    expect(ran).toEqual({ ...plain, err: `Report: ${target}\n` });
    expect(await readFile(target, 'utf8')).toBe(renderReleaseReport(aRolledBackStatus(), START + 191_000));
  });

  it('leaves documents as they are', async () => {
    const args = ['explain', 'shop/checkout', '--json', '-q'];
    const client = new FakeSluice(aRolledBackStatus());
    const ran = await run([...args, '--report', file('quiet.html')], { client });

    expect(ran).toEqual(await run(args, { client }));
    expect((await stat(file('quiet.html'))).size).toBeGreaterThan(10_000);
  });
});

describe('--report of the commands that follow a release', () => {
  it.each(['wait', 'watch'])('%s writes the page when the release has ended', async (name) => {
    const target = file(`${name}.html`);
    const client = new FakeSluice(aRolledBackStatus());

    const ran = await run([name, 'shop/checkout', '--report', target], { client });

    expect(ran.code).toBe(3);
    expect(ran.err).toContain(`Report: ${target}\n`);
    expect(await readFile(target, 'utf8')).toBe(renderReleaseReport(aRolledBackStatus(), START + 191_000));
  });

  it('deploy waits for the end, without a terminal, too, and writes it then', async () => {
    const target = file('deploy.html');
    const client = new FakeSluice();
    const running = start(['deploy', EXAMPLE, '--version', 'v2', '--report', target], { client });

    await running.wrote('alice started the release');
    client.update('shop-0001', { phase: 'promoted', outcome: 'promoted', message: 'v2 is stable.', endedAt: 1 });
    const ran = await running.ended;

    expect(ran.code).toBe(0);
    expect(ran.err).toContain(`Report: ${target}\n`);
    expect(readPage(await readFile(target, 'utf8')).text()).toContain('v2 is stable.');
  });

  it('is refused where nobody waits for the end', async () => {
    const client = new FakeSluice(aRolledBackStatus());
    const ran = await run(['deploy', EXAMPLE, '--version', 'v2', '--detach', '--report', file('x.html')], { client });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain("Option '--report <file>' cannot be used with option '--detach'.");
  });
});

describe('sluice monitor --report', () => {
  it.each([
    ['healthy', 0, 'Kept'],
    ['failing', 3, 'Broken'],
    ['no-data', 1, 'No verdict'],
  ])('writes what was seen of a service that is %s', async (script, code, word) => {
    const target = file(`${script}.html`);

    const ran = await run([...MONITOR, '--simulate', script, '--report', target], { now: () => Date.now() });

    expect(ran.code).toBe(code);
    expect(ran.err).toContain(`Report: ${target}`);
    const page = readPage(await readFile(target, 'utf8'));
    expect(dangersOf(page)).toEqual([]);
    expect(page.text()).toContain('Simulated:');
    expect(page.text(page.all('section')[0]).replace(/\s+/gu, ' ')).toMatch(new RegExp(`^ ${word} .*looks`, 'u'));
    expect(page.all('tr')).toHaveLength(4);
  });
});

describe('a report that cannot be written', () => {
  it.each([
    ['is a folder', '', 'it is a folder'],
    ['is in no folder', 'none/release.html', 'there is no folder'],
  ])('is refused before anything is done when it %s', async (_how, name, why) => {
    const client = new FakeSluice(aRolledBackStatus());
    const explained = await run(['explain', 'shop/checkout', '--report', file(name)], { client });
    const monitored = await run([...MONITOR, '--simulate', 'healthy', '--report', file(name)]);

    for (const ran of [explained, monitored]) {
      expect(ran).toMatchObject({ code: 2, out: '' });
      expect(ran.err).toContain(`The report cannot be written to ${file(name)}: ${why}`);
    }
  });

  // Root may write anything.
  (process.getuid?.() === 0 ? it.skip : it)('is refused where nothing may be written', async () => {
    const locked = await mkdtemp(path.join(directory, 'locked-'));
    await chmod(locked, 0o500);
    const ran = await run([...MONITOR, '--simulate', 'healthy', '--report', path.join(locked, 'a.html')]);

    expect(ran).toMatchObject({ code: 2, err: expect.stringContaining('nothing may be written in') });
  });
});
