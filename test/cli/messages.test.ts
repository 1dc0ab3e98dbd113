import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Plan } from '../../src/spec/plan-types';
import { FakeSluice } from './fake-client';
import { run } from './harness';
import type { Ran } from './harness';
import { aRolledBackStatus, aStatus, START } from './statuses';

const WAITING = {
  phase: 'awaitingApproval',
  soak: null,
  approval: { step: 4, by: ['oncall'], since: START, expiresAt: START + 1000, onExpiry: 'rollback' },
} as const;
const PAUSED = { paused: { since: START, by: { name: 'bob', via: 'cli' }, reason: 'x', cause: 'person' } } as const;

describe.each([
  { args: ['approve', 'shop/checkout'], sends: 'approve', status: WAITING, asks: null },
  {
    args: ['reject', 'shop/checkout'],
    sends: 'reject',
    status: WAITING,
    asks: 'Reject shop/checkout, and roll it back?',
  },
  { args: ['pause', 'shop/checkout'], sends: 'pause', status: {}, asks: null },
  { args: ['resume', 'shop/checkout'], sends: 'resume', status: PAUSED, asks: null },
  {
    args: ['promote', 'shop/checkout'],
    sends: 'promote',
    status: {},
    asks: 'Promote shop/checkout now, without the steps that are left?',
  },
  { args: ['rollback', 'shop/checkout'], sends: 'rollback', status: {}, asks: 'Roll back shop/checkout?' },
  {
    args: ['traffic', 'shop/checkout', '30'],
    sends: 'setWeight',
    status: {},
    asks: 'Set the weight of shop/checkout from 25 % to 30 %?',
  },
  {
    args: ['skip-soak', 'shop/checkout'],
    sends: 'skipSoak',
    status: {},
    asks: 'Skip the rest of the soak of shop/checkout?',
  },
])('sluice $args.0', ({ args, sends, status, asks }) => {
  const env = { SLUICE_GROUPS: 'oncall' };
  const yes = asks !== null ? ['--yes'] : [];

  it('says it to the release, with who and why, and prints what was recorded', async () => {
    const client = new FakeSluice(aStatus(status));

    const ran = await run([...args, ...yes, '--reason', 'because', '--as', 'alice'], { client, env });

    expect(ran).toEqual({ code: 0, out: '✔ The wish of alice is recorded.\n', err: '' });
    expect(client.sent).toEqual([
      {
        name: sends,
        ref: { service: 'checkout', namespace: 'shop' },
        message: expect.objectContaining({
          actor: { name: 'alice', via: 'cli', groups: ['oncall'] },
          reason: 'because',
          ...(sends === 'setWeight' ? { weight: 30 } : {}),
        }),
      },
    ]);
    expect(client.closed).toBe(true);
  });

  it('says so where the metrics are made up', async () => {
    const client = new FakeSluice(aStatus({ ...status, simulated: true }));

    expect((await run([...args, ...yes], { client, env })).out).toBe('[simulated] ✔ The wish of tester is recorded.\n');
    expect((await run(['list'], { client })).out).toContain('[simulated]');
  });

  it('answers in JSON with one document', async () => {
    const ran = await run([...args, ...yes, '--json'], { client: new FakeSluice(aStatus(status)), env });

    expect(JSON.parse(ran.out)).toEqual({
      apiVersion: 'sluice.dev/v1',
      kind: 'MessageAck',
      service: 'checkout',
      namespace: 'shop',
      release: 'checkout-20261121-140000-0001',
      seq: 2,
      message: 'The wish of tester is recorded.',
    });
  });

  it('fails when the release is over, and when there is none', async () => {
    const over = await run([...args, ...yes, '--json'], { client: new FakeSluice(aRolledBackStatus()), env });
    const none = await run([...args, ...yes], { client: new FakeSluice(), env });

    expect(over.code).toBe(1);
    expect(JSON.parse(over.out)).toMatchObject({
      kind: 'Error',
      error: {
        code: 'conflict',
        hint: /^(promote|setWeight)$/.test(sends)
          ? expect.stringContaining('To start a short release of what the canary runs: sluice')
          : 'See `sluice list`.',
      },
    });
    expect(none).toMatchObject({ code: 1, out: '' });
    expect(none.err).toContain('There is no release of shop/checkout.');
  });

  it('is refused when it means another release', async () => {
    const client = new FakeSluice(aStatus(status));

    const ran = await run([...args, ...yes, '--release', 'checkout-0'], { client, env });

    expect(ran.code).toBe(1);
    expect(client.sent).toEqual([]);
  });

  it('says at once that no worker is running', async () => {
    const client = new FakeSluice(aStatus(status));
    client.pollers = [];

    const ran = await run([...args, ...yes], { client, env });

    expect(ran.err).toContain('No worker is running at 127.0.0.1:1, namespace default');
  });

  it("sends nothing to another program's Temporal", async () => {
    const client = new FakeSluice(aStatus(status));
    client.pollers = [];
    client.stranger = true;

    const ran = await run([...args, ...yes], { client, env });

    expect(ran.code).toBe(1);
    expect(ran.err).toMatch(/^Error: Nothing of Sluice is at 127\.0\.0\.1:1, namespace default, where .* no address/u);
    expect(ran.err).toContain('--address or TEMPORAL_ADDRESS');
    expect(client.sent).toEqual([]);
  });

  if (asks !== null) {
    it('asks on a terminal, showing what it is about, and binds the answer to it', async () => {
      const client = new FakeSluice(aStatus(status));

      const ran = await run(args, { client, env, tty: 80, input: 'y\n' });

      expect(ran.code).toBe(0);
      expect(ran.err).toContain(`${asks}\n  release checkout-`);
      expect(ran.err).toContain('version 1.41.0 → 1.42.0');
      expect(ran.err).toContain('weight  25 % now');
      expect(client.sent[0]?.message.release).toBe('checkout-20261121-140000-0001');
    });

    it.each(['n\n', '\n', ''])('does nothing when the answer is %j', async (input) => {
      const client = new FakeSluice(aStatus(status));

      const ran = await run(args, { client, env, tty: 80, input });

      expect(ran.code).toBe(1);
      expect(ran.err).toContain('Nothing was done.');
      expect(client.sent).toEqual([]);
    });

    it('never waits for an answer where there is no terminal', async () => {
      const client = new FakeSluice(aStatus(status));

      const ran = await run(args, { client, env });

      expect(ran.code).toBe(2);
      expect(ran.err).toBe(
        'Error: This asks for confirmation, and there is no terminal to ask on.\n' +
          '       Add --yes to do it without being asked.\n',
      );
      expect(client.sent).toEqual([]);
    });
  }
});

it('asks with as much of a digest as tells two apart, in the characters that the terminal has', async () => {
  const image = (hex: string): string => `example.test/checkout@sha256:${hex.repeat(64)}`;
  const client = new FakeSluice(aStatus({ version: { from: image('a'), to: image('b'), artifact: null } }));
  const asked = (more: string[]): Promise<Ran> =>
    run(['rollback', 'shop/checkout', ...more], { client, tty: 80, input: 'n\n' });

  const ran = await asked([]);
  const ascii = await asked(['--ascii']);

  const short = (hex: string): string => `example.test/checkout@sha256:${hex.repeat(12)}`;
  expect(ran.err).toContain(`  version ${short('a')}… → ${short('b')}…\n`);
  expect(ascii.err).toContain(`  version ${short('a')}... -> ${short('b')}...\n`);
});

describe('who may', () => {
  it('approve is answered with code 4 for those who may not', async () => {
    const ran = await run(['approve', 'shop/checkout', '--as', 'mallory'], {
      client: new FakeSluice(aStatus(WAITING)),
    });

    expect(ran.code).toBe(4);
    expect(ran.err).toContain('mallory may not approve; oncall may.');
    expect(ran.err).toContain(
      'You act as mallory, in no group. Say your groups with SLUICE_GROUPS=a,b and your name with --as NAME or SLUICE_ACTOR.',
    );
  });

  it('approve counts steps from 1', async () => {
    const client = new FakeSluice(aStatus(WAITING));
    const env = { SLUICE_GROUPS: 'oncall' };

    const wrong = await run(['approve', 'shop/checkout', '--step', '4'], { client, env });
    const right = await run(['approve', 'shop/checkout', '--step', '5'], { client, env });
    const odd = await run(['approve', 'shop/checkout', '--step', 'five'], { client, env });

    expect([wrong.code, right.code, odd.code]).toEqual([1, 0, 2]);
    expect(client.sent[0]?.message.step).toBe(4);
  });
});

describe('bad input', () => {
  it.each([
    [['traffic', 'shop/checkout', '101', '--yes'], 'which is no whole percentage'],
    [['traffic', 'shop/checkout', '--yes'], 'It is not said which weight is meant.'],
    [['traffic', '--yes'], 'It is not said which weight is meant.'],
    [['traffic', '101', '--yes'], 'which is no whole percentage'],
    [['rollback', 'Shop/Checkout', '--yes'], 'names no service'],
    [['rollback', 'a/b/c', '--yes'], 'names no service'],
    [['rollback', 'missing.yaml', '--yes'], 'missing.yaml does not exist'],
    [['rollback', 'checkout', '--yes', '-o', 'xml'], 'There is no output format "xml"'],
    [['rollback', 'checkout', '--yes', '--json', '-o', 'yaml'], 'contradict each other'],
    [['rollback', 'checkout', '--yse'], "Unknown option '--yse'"],
  ])('%j is answered with code 2 and a sentence', async (args, sentence) => {
    const ran = await run(args, { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain(sentence);
    expect(ran.err).not.toMatch(/^\s+at /mu);
  });
});

describe('a file in place of a service', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'sluice-ref-'));
  });
  afterAll(async () => rm(directory, { recursive: true, force: true }));

  it('that is not right is answered with the name of its service, which needs no file', async () => {
    const right = await readFile(path.join(__dirname, '../../examples/specs/kubernetes.yaml'), 'utf8');
    const file = path.join(directory, 'release.yaml');
    await writeFile(file, right.replace(/^spec:$/mu, 'spec:\n  nonsense: 1'));

    const ran = await run(['rollback', file, '--yes'], { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('unknown key "nonsense"');
    expect(ran.err).toContain(`A service is asked for; that of ${file} is shop/checkout, and its name needs no file.`);
  });

  it('that is not there is answered with what is asked for', async () => {
    const ran = await run(['status', path.join(directory, 'none.yaml')], { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('A service is asked for. Write its name (checkout), namespace and name (shop/checkout)');
  });
});

describe('sluice rollback of a release that waits in the queue', () => {
  async function queued(): Promise<{ client: FakeSluice; release: string }> {
    const client = new FakeSluice(aStatus());
    const plan = { service: 'checkout', namespace: 'shop', version: '1.43.0' } as Plan;
    const { release } = await client.deploy(plan, { actor: { name: 'bob', via: 'ci' }, onConflict: 'queue' });
    return { client, release };
  }

  it('is listed as queued, and withdrawn by its id', async () => {
    const { client, release } = await queued();

    const before = await run(['list', 'shop/checkout'], { client });
    const ran = await run(['rollback', 'shop/checkout', '--release', release, '--yes'], { client });
    const after = await run(['list', 'shop/checkout'], { client });

    expect(before.out).toMatch(new RegExp(`1\\.43\\.0 +• Queued +0 % +${release} +not yet`));
    expect(ran).toEqual({ code: 0, out: `✔ Release ${release} is withdrawn from the queue.\n`, err: '' });
    expect(after.out).not.toContain('Queued');
    expect(client.sent).toEqual([]);
  });

  it('asks about that, and not about the one that runs', async () => {
    const { client, release } = await queued();

    const ran = await run(['rollback', 'shop/checkout', '--release', release], { client, tty: 80, input: 'n\n' });

    expect(ran.err).toContain(`Withdraw from the queue of shop/checkout?\n  release ${release}, which has not begun`);
    expect(ran.err).toContain('Nothing was done.');
  });
});
