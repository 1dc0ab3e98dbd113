import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { DeployResult } from '../../src/client/client-types';
import { FakeSluice } from './fake-client';
import { run, start } from './harness';
import { aStatus } from './statuses';

const SPEC = `apiVersion: sluice.dev/v1
kind: Release
metadata: { name: checkout, namespace: shop }
spec:
  target:
    router: { instances: ["http://127.0.0.1:3001"] }
  steps:
    - { weight: 25, soak: 60s }
    - { weight: 100, soak: 60s }
`;

let directory: string;
let spec: string;

beforeAll(async () => {
  directory = await mkdtemp(path.join(tmpdir(), 'sluice-cli-'));
  spec = path.join(directory, 'release.yaml');
  await writeFile(spec, SPEC);
});

afterAll(() => rm(directory, { recursive: true, force: true }));

async function kubernetesSpec(): Promise<string> {
  const file = path.join(directory, 'kubernetes.yaml');
  const target = 'kubernetes: { deployment: checkout, service: checkout, traffic: { replicas: {} } }';
  const analysis = '  analysis: { source: { prometheus: { url: "http://127.0.0.1:1" } }, preset: http }\n';
  await writeFile(file, SPEC.replace(/router: .*/u, target) + analysis);
  return file;
}

const ENDS = {
  promoted: { phase: 'promoted', outcome: 'promoted', message: '1.42.0 is the stable version.', endedAt: 1 },
  rolledBack: { phase: 'rolledBack', outcome: 'rolledBack', message: 'Rolled back.', endedAt: 1, weight: 0 },
  rejected: { phase: 'rolledBack', outcome: 'rejected', message: 'Rejected by bob.', endedAt: 1, weight: 0 },
  aborted: { phase: 'rolledBack', outcome: 'aborted', message: 'Taken back by bob.', endedAt: 1, weight: 0 },
  failed: { phase: 'failed', outcome: 'failed', message: 'It could not be taken back.', endedAt: 1 },
} as const;

describe('sluice deploy', () => {
  it('starts a release and returns, where there is no terminal', async () => {
    const client = new FakeSluice();

    const ran = await run(['deploy', spec, '--version', '1.42.0', '--reason', 'the basket'], { client });

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('Release checkout-0001 of shop/checkout 1.42.0 has started.');
    expect(client.newest).toMatchObject({ startedBy: { name: 'tester', via: 'cli' }, reason: 'the basket' });
    expect(client.plans[0]?.version).toBe('1.42.0');
  });

  it('answers in JSON with one document', async () => {
    const ran = await run(['deploy', spec, '--image', 'v7', '-o', 'json'], { client: new FakeSluice() });

    expect(JSON.parse(ran.out)).toEqual({
      apiVersion: 'sluice.dev/v1',
      kind: 'Deployment',
      service: 'checkout',
      namespace: 'shop',
      version: 'v7',
      release: 'checkout-0001',
      workflowId: 'release:shop/checkout',
      state: 'started',
      behind: null,
    });
  });

  it.each([
    ['promoted', 0],
    ['rolledBack', 3],
    ['rejected', 5],
    ['aborted', 5],
    ['failed', 1],
  ] as const)('waits for its end, and says by the exit code that it %s', async (end, code) => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0', '--wait', '-o', 'json'], { client });

    await running.wrote('alice started the release');
    client.update('checkout-0001', { phase: 'soaking', weight: 25 }, { message: 'Weight 0 % → 25 %.' });
    await running.wrote('Weight 0 % → 25 %.');
    client.update('checkout-0001', ENDS[end]);
    const ran = await running.ended;

    expect(ran.code).toBe(code);
    expect(JSON.parse(ran.out)).toMatchObject({ kind: 'ReleaseStatus', outcome: end, release: 'checkout-0001' });
  });

  it('watches on a terminal, and leaves the last frame there', async () => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0'], { client, tty: 80 });

    await running.wrote('The release starts.');
    client.update('checkout-0001', ENDS.promoted);
    const ran = await running.ended;

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('\u001b[?25l');
    expect(ran.out.trimEnd().endsWith('\u001b[?25h')).toBe(true);
    expect(ran.out).toContain('1.42.0 is the stable version.');
  });

  it('does not wait for the old version that a promoted release keeps', async () => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0', '--wait'], { client });

    await running.wrote('alice started the release');
    const keepOld = { since: 1, until: 2, version: '1.41.3' };
    client.update('checkout-0001', { outcome: 'promoted', phase: 'promoted', keepOld });
    const ran = await running.ended;

    expect(ran.code).toBe(0);
    expect(client.newest.endedAt).toBeNull();
  });

  it('tells once what is waited for', async () => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0', '--wait'], { client });
    await running.wrote('alice started the release');
    const waits = 'Waiting up to 600 s until Deployment shop/checkout-canary has 1 available pod.';
    client.update('checkout-0001', { message: `alice started the release. ${waits}`, waits });
    await running.wrote(waits);
    client.update('checkout-0001', { message: `It goes on. ${waits}`, waits });
    client.update('checkout-0001', ENDS.failed);
    const ran = await running.ended;

    expect(ran.err.split(waits)).toHaveLength(2);
  });

  it('tells once why it stands still', async () => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0', '--wait'], { client });
    await running.wrote('alice started the release');
    const why = 'Registry 127.0.0.1:1 refused the connection.';
    const failed = (times: string) => `observe failed ${times} and is tried again: ${why}`;
    client.update('checkout-0001', { message: failed('once'), trouble: why });
    await running.wrote(failed('once'));
    client.update('checkout-0001', { message: failed('2 times'), trouble: why });
    client.update('checkout-0001', ENDS.failed);
    const ran = await running.ended;

    expect(ran.err).toContain(failed('once'));
    expect(ran.err).not.toContain(failed('2 times'));
  });

  it('says that a release which only keeps the old version gives it up', async () => {
    class Kept extends FakeSluice {
      override deploy(): Promise<DeployResult> {
        const result = { release: 'checkout-0002', workflowId: 'release:shop/checkout', behind: 'checkout-0001' };
        return Promise.resolve({ ...result, state: 'queued', endsKeeping: true });
      }
    }
    const ran = await run(['deploy', spec, '--version', '1.43.0', '--detach'], { client: new Kept() });

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('begins as soon as checkout-0001, which is promoted, has given up the old version');
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('detaches on %s and says how to get back', async (signal, code) => {
    const client = new FakeSluice();
    const running = start(['deploy', spec, '--version', '1.42.0', '--wait'], { client });

    await running.wrote('alice started the release');
    running.interrupt(signal);
    const ran = await running.ended;

    expect(ran.code).toBe(code);
    expect(ran.err).toContain(
      'The release continues. Reattach: `sluice watch shop/checkout`, take it back: `sluice rollback shop/checkout`.',
    );
    expect(client.sent).toEqual([]);
    expect(client.newest.outcome).toBeNull();
  });

  it('refuses, queues or supersedes while another release runs', async () => {
    const args = ['deploy', spec, '--version', '1.43.0', '--detach'];

    const refused = await run(args, { client: new FakeSluice(aStatus()) });
    const queued = await run([...args, '--on-conflict', 'queue'], { client: new FakeSluice(aStatus()) });
    const superseding = await run([...args, '--on-conflict', 'supersede'], { client: new FakeSluice(aStatus()) });
    const wrong = await run([...args, '--on-conflict', 'fight'], { client: new FakeSluice(aStatus()) });

    expect(refused.code).toBe(1);
    expect(refused.err).toContain('is in progress');
    expect(queued.code).toBe(0);
    expect(queued.out).toContain('is queued behind checkout-20261121-140000-0001');
    expect(superseding.code).toBe(0);
    expect(superseding.out).toContain(
      'shop/checkout 1.43.0 supersedes checkout-20261121-140000-0001, and begins when that is rolled back.',
    );
    expect(wrong.code).toBe(2);
    expect(wrong.err).toContain('reject, queue, supersede');
  });

  it('refused during a roll back says so, and not that it could be taken back', async () => {
    const client = new FakeSluice(aStatus({ phase: 'rollingBack', soak: null }));

    const ran = await run(['deploy', spec, '--version', '1.43.0'], { client });

    expect(ran).toEqual({
      code: 1,
      out: '',
      err:
        'Error: Release checkout-20261121-140000-0001 of shop/checkout is in progress. It is being rolled back already.\n' +
        '       Wait until it is, or say --on-conflict queue or supersede: the new one begins then.\n',
    });
  });

  it('waits for its turn in the queue, and then for its end', async () => {
    const client = new FakeSluice(aStatus());
    const args = ['deploy', spec, '--version', '1.43.0', '--on-conflict', 'queue', '--wait'];
    const running = start(args, { client });

    await running.wrote('It is next in the queue.');
    client.update('checkout-20261121-140000-0001', ENDS.promoted);
    client.begin(client.plans[0] as never, 'checkout-0001', { actor: { name: 'alice', via: 'cli' } });
    await running.wrote('alice started the release');
    client.update('checkout-0001', ENDS.rolledBack);

    expect((await running.ended).code).toBe(3);
  });

  it('says that it waits for a roll back when it supersedes another', async () => {
    const client = new FakeSluice(aStatus());
    const running = start(['deploy', spec, '--version', '1.43.0', '--on-conflict', 'supersede', '--wait'], { client });

    await running.wrote('It is next: it waits for the roll back of the one before it.');
    running.interrupt();

    expect((await running.ended).code).toBe(130);
  });

  it('that is left in the queue knows so, and how the release is withdrawn', async () => {
    const client = new FakeSluice(aStatus());
    const args = ['deploy', spec, '--version', '1.43.0', '--on-conflict', 'queue', '--wait'];

    const late = await run([...args, '--timeout', '20ms'], { client });

    expect(late.code).toBe(124);
    expect(late.err).toMatch(
      /^The timeout ran out\. The release stays in the queue, .*withdraw it: `sluice rollback shop\/checkout --release \S+`\.$/mu,
    );
    expect(late.err).not.toContain('not seen');
  });

  it('ends when its time is over, apart from a release that waits for a person', async () => {
    const slow = new FakeSluice();
    const held = new FakeSluice();
    const args = ['deploy', spec, '--version', '1.42.0', '--wait'];

    const late = await run([...args, '--timeout', '20ms'], { client: slow });
    const running = start([...args, '--exit-on-hold'], { client: held });
    await running.wrote('alice started the release');
    held.update('checkout-0001', { phase: 'awaitingApproval', message: 'Approval by oncall is waited for.' });
    const onHold = await running.ended;

    expect(late.code).toBe(124);
    expect(late.err).toContain('The timeout ran out. The release continues.');
    expect(onHold.code).toBe(8);
    expect(onHold.err).toContain('Approval by oncall is waited for.');
  });

  it('prints the plan and does nothing in a dry run', async () => {
    const client = new FakeSluice();

    const ran = await run(['deploy', spec, '--version', '1.42.0', '--dry-run'], { client });

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('weight 25 %');
    expect(client.plans).toEqual([]);
  });

  it('says on every line that numbers are made up', async () => {
    const client = new FakeSluice();
    const args = ['deploy', spec, '--version', '1.42.0', '--simulate', 'failing@25', '--wait'];
    const running = start(args, { client });

    await running.wrote('alice started the release');
    client.update('checkout-0001', ENDS.rolledBack);
    const ran = await running.ended;

    expect(client.plans[0]?.analysis.source).toEqual({
      kind: 'simulated',
      phases: [
        { fromWeight: 0, errorRate: 0.001, p95: 0.12 },
        { fromWeight: 25, errorRate: 0.2, p95: 2.5 },
      ],
    });
    for (const line of `${ran.out}${ran.err}`.trimEnd().split('\n')) expect(line).toMatch(/^\[simulated\] /u);
  });

  it('says at once that no worker is running, and does not wait for one', async () => {
    const client = new FakeSluice();
    client.pollers = [];

    const ran = await run(['deploy', spec, '--version', '1.42.0'], { client });

    expect(ran.code).toBe(0);
    expect(ran.err).toContain('No worker is running');
  });

  it("starts nothing at another program's Temporal that happens to be at the default address", async () => {
    const client = new FakeSluice();
    client.pollers = [];
    client.stranger = true;

    const ran = await run(['deploy', spec, '--version', '1.42.0'], { client });

    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/^Error: Nothing of Sluice is at 127\.0\.0\.1:1, namespace default, where .* no address/u);
    expect(client.plans).toEqual([]);
  });

  it('says how a version is named to the target at hand', async () => {
    const [router, kubernetes] = await Promise.all([
      run(['deploy', spec]),
      kubernetesSpec().then((file) => run(['deploy', file])),
    ]);

    expect(router.err).toContain('       Add --version 1.4.2.\n');
    expect(kubernetes.err).toContain('       Add --image ghcr.io/acme/checkout:1.4.2.\n');
  });

  it.each([
    ['Shop:v2', '"Shop:v2" is not an image reference: its name has capital letters, and small ones alone are allowed.'],
    ['acme/shop', '"acme/shop" names neither a tag nor a digest.'],
    ['shop@sha256:12', '"shop@sha256:12" has a digest that is not sha256: and 64 lower-case hex digits.'],
  ])('refuses to deploy the image %s with code 2, before Temporal or a cluster is asked', async (image, why) => {
    const file = await kubernetesSpec();
    const connect = jest.fn(() => Promise.resolve(new FakeSluice()));

    for (const option of ['--image', '--version']) {
      const ran = await run(['deploy', file, option, image], {
        env: { KUBECONFIG: '/nonexistent/config' },
        override: { connect },
      });

      expect(ran).toEqual({
        code: 2,
        out: '',
        err:
          `Error: A release to Kubernetes is of an image, and ${why}\n` +
          '       Allowed: an image with a tag or a digest, such as ghcr.io/acme/checkout:1.4.2 or ghcr.io/acme/checkout@sha256:<64 hex digits>.\n',
      });
    }
    expect(connect).not.toHaveBeenCalled();
  });

  it.each([
    [[], "Missing required argument 'release.yaml'"],
    [['SPEC'], 'It is not said which version to release.'],
    [['SPEC', '--version', '1', '--image', '2'], "cannot be used with option '--version"],
    [['SPEC', '--version', 'not a version'], "is not a version's name"],
    [['missing.yaml', '--version', '1'], 'missing.yaml does not exist'],
    [['SPEC', '--version', '1', '--timeout', '60'], '--timeout is "60", which has no unit.'],
    [['SPEC', '--version', '1', '--simulate', 'wonders'], 'There is no script "wonders"'],
    [['SPEC', '--version', '1', '--wait', '--detach'], 'cannot be used with option'],
  ])('answers %j with code 2 and a sentence', async (args, sentence) => {
    const client = new FakeSluice();

    const ran = await run(['deploy', ...args.map((arg) => (arg === 'SPEC' ? spec : arg))], { client });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain(sentence);
    expect(client.plans).toEqual([]);
  });
});
