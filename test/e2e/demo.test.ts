import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describeWithLab } from '../lab/describe-with-lab';
import { labEnvironment } from '../lab/lab';
import { execute } from '../lab/tell';

const ROOT = join(__dirname, '../..');

/** Two releases of half a minute of soaks each, with pods that come and go on a machine that may be busy. */
jest.setTimeout(900_000);

interface DemoEvent {
  readonly kind: string;
  readonly type: string;
  readonly version?: string;
  readonly outcome?: string;
  readonly namespace?: string;
  readonly event?: { readonly type: string; readonly weight: number };
}

describeWithLab('scripts/demo --kubernetes', (lab) => {
  const namespaces = async (): Promise<string> =>
    execute(lab.kubectl, ['--kubeconfig', lab.kubeconfig, 'get', 'namespaces', '-o', 'name']);

  function start() {
    const child = spawn(join(ROOT, 'scripts/demo'), ['--kubernetes', '--json'], {
      env: { ...process.env, ...labEnvironment(lab) },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const ended = once(child, 'close').then(([code]) => ({ code: code as number | null, out }));
    return { child, ended, written: () => out };
  }

  it('promotes v2, takes v3 back, and leaves nothing in the cluster', async () => {
    const { code, out } = await start().ended;
    const lines = out.trimEnd().split('\n');
    const events = lines.slice(0, -1).map((line) => JSON.parse(line) as DemoEvent);

    expect({ code, last: lines.at(-1) }).toEqual({ code: 0, last: 'demo: v2 promoted, v3 rolled back' });
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(['DemoEvent']));
    expect(events.filter(({ type }) => type === 'released').map(({ outcome }) => outcome)).toEqual([
      'promoted',
      'rolledBack',
    ]);
    expect(events.findLast(({ type }) => type === 'load')).toMatchObject({ unanswered: 0, stable: { errors: 0 } });
    expect(await namespaces()).not.toContain(events.find(({ namespace }) => namespace !== undefined)?.namespace);
  });

  it('interrupted, takes away what it made, and leaves the lab', async () => {
    const demo = start();
    const namespace = await new Promise<string>((resolve) => {
      demo.child.stdout.on('data', () => {
        const [, found] = /"namespace":"(sluice-demo-\d+)"/u.exec(demo.written()) ?? [];
        if (found !== undefined) resolve(found);
      });
    });
    demo.child.kill('SIGINT');
    const { code, out } = await demo.ended;

    expect({ code, last: out.trimEnd().split('\n').at(-1) }).toEqual({ code: 130, last: 'demo: interrupted' });
    expect(await namespaces()).not.toContain(namespace);
  });
});
