import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { homedir, hostname } from 'node:os';
import { join } from 'node:path';
import { temporal } from '@temporalio/proto';
import { Worker } from '@temporalio/worker';
import type { WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { ACTIVITY_FAILURES } from '../../src/workflows/activity-types';
import type { Plan, PlanStep } from '../../src/spec/plan-types';
import { shortPlan as planShort } from '../../src/spec/short-plans';
import { FakeWorld } from './fake-world';
import { approve, blueGreenPlan, kubernetesPlan, shortPlan, testSteps, weights } from './plans';
import { bundleWorkflows, installRuntime, ONCALL, send, TimeSkipping } from './time-skipping';
import type { ReleaseHandle, Room } from './time-skipping';

/**
 * Releases that were recorded are run again with the code as it is: one in progress must survive the next deploy of
 * the worker. README.md beside the histories says when and how they are recorded anew.
 */
const HISTORIES = join(__dirname, 'histories');
const recording = process.env['SLUICE_RECORD'] === '1';

const { History } = temporal.api.history.v1;
type History = temporal.api.history.v1.IHistory;

let bundle: WorkflowBundleWithSourceMap;
beforeAll(async () => {
  installRuntime();
  bundle = await bundleWorkflows();
  if (recording) await record();
});

/** As Temporal itself encodes them, in base64: the SDK's JSON form cannot be made inside of Jest's realm. */
async function read(): Promise<{ name: string; history: History }[]> {
  const files = (await readdir(HISTORIES)).filter((file) => file.endsWith('.history')).sort();
  return Promise.all(
    files.map(async (file) => ({
      name: file.replace('.history', ''),
      history: History.decode(Buffer.from(await readFile(join(HISTORIES, file), 'utf8'), 'base64')),
    })),
  );
}

/** The names of the histories that the workflows do not follow any more, each with why. */
async function broken(workflowBundle: WorkflowBundleWithSourceMap): Promise<[string, string][]> {
  const found: [string, string][] = [];
  const histories = (await read()).map(({ name, history }) => ({ workflowId: name, history }));
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle }, histories)) {
    if (error !== undefined) found.push([workflowId, `${error.name}: ${error.message}`]);
  }
  return found;
}

it('the recorded releases are followed to their ends by the workflows as they are', async () => {
  expect((await read()).map(({ name }) => name)).toEqual([
    'approval-and-pause',
    'blue-green-kept',
    'blue-green-taken-back',
    'clean-up',
    'continued-as-new-1',
    'continued-as-new-2',
    'kubernetes-failed-while-promoted',
    'kubernetes-promoted-watched',
    'kubernetes-promoted',
    'promoted',
    'queue',
    'rolled-back',
    'source-clock-ahead',
    'stuck-roll-back',
  ]);
  expect(await broken(bundle)).toEqual([]);
});

it('a change that releases in progress could not survive is found', async () => {
  const found = await broken(await bundleWorkflows(require.resolve('./changed/index.ts')));

  // All but the queue's, which was not changed.
  expect(found.map(([name]) => name)).toHaveLength((await read()).length - 1);
  expect(found.every(([, why]) => /Nondeterminism|TMPRL1100/i.test(why))).toBe(true);
});

it('the recorded releases tell nothing about the machine they were recorded on', async () => {
  const here = new RegExp([hostname(), homedir(), process.cwd()].map((one) => escapeRegExp(one)).join('|'));
  for (const { history } of await read()) {
    for (const event of history.events ?? []) {
      const strings = stringsIn(event);
      expect(
        strings.filter(({ key, text }) => key === 'stackTrace' || (key === 'identity' && text !== 'sluice-test')),
      ).toEqual([]);
      expect(strings.filter(({ text }) => here.test(text) || /\/node_modules\//.test(text))).toEqual([]);
    }
  }
});

function escapeRegExp(text: string): string {
  return `(^|[@/\\s])${text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}($|[/\\s])`;
}

function stringsIn(value: unknown, key = ''): { key: string; text: string }[] {
  if (typeof value === 'string') return value === '' ? [] : [{ key, text: value }];
  if (value instanceof Uint8Array) return [{ key, text: Buffer.from(value).toString() }];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) => stringsIn(inner, name));
}

function onCluster({ switches = false, canary }: { switches?: boolean; canary?: string } = {}): FakeWorld {
  const world = new FakeWorld();
  if (switches) world.switches = true;
  else world.handsBack = true;
  if (canary !== undefined) world.canary = canary;
  return world;
}

/** One weight, and looks at it that are soon due: while a promotion is at work the clock is the wall's. */
function promotionPlan(): Plan {
  const middle: PlanStep[] = [{ kind: 'weight', name: 'weight 100 %', weight: 100, soakMs: 2_000 }];
  const plan = kubernetesPlan({ middle, analysis: { intervalMs: 1_000 } });
  const handBack = { smokeTest: null, soakMs: 2_000 };
  return { ...plan, steps: plan.steps.map((step) => (step.kind === 'promote' ? { ...step, handBack } : step)) };
}

async function record(): Promise<void> {
  const time = await TimeSkipping.start();
  const histories: Record<string, History> = {};
  const keep = async (name: string, handle: Pick<ReleaseHandle, 'fetchHistory'>): Promise<void> => {
    histories[name] = await handle.fetchHistory();
  };
  const play = (world: FakeWorld, act: (room: Room) => Promise<void>): Promise<void> => time.run(world, act);

  await play(new FakeWorld(), async (room) => {
    const handle = await time.startRelease(room, shortPlan({ notify: { slack: { channel: '#deploys' } } }));
    await handle.result();
    await keep('promoted', handle);
  });

  const failing = new FakeWorld();
  failing.verdict = ({ weight }) => (weight === 100 ? 'fail' : 'pass');
  await play(failing, async (room) => {
    const handle = await time.startRelease(room, shortPlan());
    await handle.result();
    await keep('rolled-back', handle);
  });

  await play(new FakeWorld(), async (room) => {
    const plan = shortPlan({ steps: testSteps([...weights(25), approve(), ...weights(100)]) });
    const handle = await time.startRelease(room, plan);
    await time.until(handle, (s) => s.phase === 'soaking');
    await send(handle, 'pause');
    await time.env.sleep(47_000);
    await send(handle, 'setWeight', { weight: 10 });
    await time.until(handle, (s) => s.weight === 10);
    await send(handle, 'resume');
    await time.until(handle, (s) => s.phase === 'awaitingApproval');
    await handle.signal('approve', { by: 'eve' });
    await time.quiet(handle);
    await send(handle, 'approve', { actor: ONCALL });
    await time.until(handle, (s) => s.phase === 'soaking');
    await send(handle, 'skipSoak');
    await handle.result();
    await keep('approval-and-pause', handle);
  });

  await play(new FakeWorld(), async (room) => {
    const handle = await time.startRelease(room, shortPlan(), { historyLimit: 60 });
    await handle.result();
    const first = time.env.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId);
    await keep('continued-as-new-1', first);
    await keep('continued-as-new-2', time.env.client.workflow.getHandle(handle.workflowId));
  });

  const stuck = new FakeWorld().fail('compensate', ACTIVITY_FAILURES.unsupported, 2);
  await play(stuck, async (room) => {
    const handle = await time.startRelease(room, shortPlan());
    await time.until(handle, (s) => s.phase === 'soaking');
    await send(handle, 'rollback', { reason: 'bad' });
    await time.until(handle, (s) => s.stuck !== null);
    await send(handle, 'resume');
    await handle.result();
    await keep('stuck-roll-back', handle);
  });

  await play(new FakeWorld(), async (room) => {
    const handle = await time.startRelease(room, shortPlan());
    await time.until(handle, (s) => s.phase === 'soaking');
    const input = time.inputOf(room, shortPlan({ version: 'v3', steps: testSteps(weights(100)) }));
    const queue = await time.enqueue(room, input, { supersede: true });
    await queue.result();
    await keep('queue', queue);
  });

  await play(onCluster(), async (room) => {
    const handle = await time.startRelease(room, kubernetesPlan());
    await handle.result();
    await keep('kubernetes-promoted', handle);
  });

  const watched = onCluster();
  watched.last('promote', () => watched.begun('measure', watched.count('measure') + 2));
  await play(watched, async (room) => {
    const handle = await time.startRelease(room, promotionPlan());
    await handle.result();
    await keep('kubernetes-promoted-watched', handle);
  });

  const failsLate = onCluster().hang('promote');
  failsLate.verdict = ({ stableVersion }) => (stableVersion === null ? 'fail' : 'pass');
  await play(failsLate, async (room) => {
    const handle = await time.startRelease(room, promotionPlan());
    await handle.result();
    await keep('kubernetes-failed-while-promoted', handle);
  });

  await play(onCluster({ switches: true }), async (room) => {
    const handle = await time.startRelease(room, blueGreenPlan());
    await handle.result();
    await keep('blue-green-kept', handle);
  });

  await play(onCluster({ switches: true }), async (room) => {
    const handle = await time.startRelease(room, blueGreenPlan());
    await time.until(handle, (s) => (s.keepOld ?? null) !== null);
    await send(handle, 'rollback', { reason: 'baskets are empty' });
    await handle.result();
    await keep('blue-green-taken-back', handle);
  });

  const ahead = new FakeWorld();
  // One look by a clock that is ahead, and the next one by it put right.
  ahead.sourceClock = ({ at }) => (ahead.count('measure') === 1 ? at + 60_000 : at);
  ahead.gather = ({ subject, since }) => ({ subject, since, metrics: {} });
  await play(ahead, async (room) => {
    const handle = await time.startRelease(room, shortPlan());
    await handle.result();
    await keep('source-clock-ahead', handle);
  });

  await play(onCluster({ canary: 'v2' }), async (room) => {
    const plan = planShort(kubernetesPlan(), { kind: 'cleanup', track: 'canary' });
    const handle = await time.startRelease(room, plan);
    await handle.result();
    await keep('clean-up', handle);
  });

  await time.stop();
  await mkdir(HISTORIES, { recursive: true });
  const known = new Set((await read()).map(({ name }) => name));
  for (const [name, history] of Object.entries(histories)) {
    // What releases in progress may be following is not recorded over.
    if (known.has(name)) continue;
    makePlain(history.events);
    const encoded = Buffer.from(History.encode(history).finish()).toString('base64');
    await writeFile(join(HISTORIES, `${name}.history`), `${encoded}\n`);
  }
}

/** Without the name of the machine and the paths on it. */
function makePlain(part: unknown): void {
  if (typeof part !== 'object' || part === null || part instanceof Uint8Array) return;
  for (const [key, value] of Object.entries(part)) {
    if (key === 'stackTrace') Object.assign(part, { stackTrace: '' });
    else if (key === 'identity' && value !== '') Object.assign(part, { identity: 'sluice-test' });
    else makePlain(value);
  }
}
