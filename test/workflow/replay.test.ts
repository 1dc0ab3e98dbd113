import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { temporal } from '@temporalio/proto';
import { Worker } from '@temporalio/worker';
import { FakeWorld } from './fake-world';
import { approve, shortPlan, testSteps, weights } from './plans';
import { bundleWorkflows, ONCALL, send, TimeSkipping } from './time-skipping';
import type { ReleaseHandle, Room } from './time-skipping';

/**
 * Histories of whole releases, recorded once and kept: today's workflow has to make the same decisions from them, or
 * releases under way would be stuck when their worker is replaced. histories/README.md says when to record them anew.
 */
const FOLDER = path.join(__dirname, 'histories');

const SCENARIOS: Record<string, (time: TimeSkipping, world: FakeWorld, room: Room) => Promise<ReleaseHandle>> = {
  promoted: (time, _world, room) => time.startRelease(room, shortPlan()),

  'rolled-back': (time, world, room) => {
    world.verdict = ({ weight }) => (weight === 100 ? 'fail' : 'pass');
    return time.startRelease(room, shortPlan());
  },

  'approval-and-pause': async (time, _world, room) => {
    const steps = testSteps([...weights(25), approve(), ...weights(100)]);
    const handle = await time.startRelease(room, shortPlan({ steps }));
    await time.until(handle, (status) => status.phase === 'soaking');
    await send(handle, 'pause', { reason: 'a look' });
    await send(handle, 'resume');
    await time.until(handle, (status) => status.phase === 'awaitingApproval');
    await send(handle, 'approve', { actor: ONCALL });
    return handle;
  },

  'continued-as-new': (time, _world, room) => time.startRelease(room, shortPlan(), { historyLimit: 60 }),

  'stuck-roll-back': async (time, world, room) => {
    world.verdict = () => 'fail';
    world.on('compensate', (_input, call) => {
      if (call <= 30) throw new Error('the instance is away');
    });
    return time.startRelease(room, shortPlan());
  },
};

const { History } = temporal.api.history.v1;
type History = temporal.api.history.v1.IHistory;

/** As Temporal itself encodes them, in base64: the SDK's JSON form cannot be made inside of Jest's realm. */
function recorded(): { workflowId: string; history: History }[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith('.history'))
    .sort()
    .map((file) => ({
      workflowId: file.replace(/\.history$/, ''),
      history: History.decode(Buffer.from(readFileSync(path.join(FOLDER, file), 'utf8'), 'base64')),
    }));
}

/** Where a failure was thrown is the recording machine's business. */
function withoutStacks(part: unknown): void {
  if (typeof part !== 'object' || part === null) return;
  for (const [key, value] of Object.entries(part)) {
    if (key === 'stackTrace') (part as { stackTrace?: string }).stackTrace = '';
    else withoutStacks(value);
  }
}

async function replay(histories: ReturnType<typeof recorded>): Promise<Map<string, string | null>> {
  const workflowBundle = await bundleWorkflows();
  const answers = new Map<string, string | null>();
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle }, histories)) {
    answers.set(workflowId, error?.message ?? null);
  }
  return answers;
}

describe('histories of releases', () => {
  if (process.env['SLUICE_RECORD'] === '1') {
    it('are recorded', async () => {
      const time = await TimeSkipping.start({ shortTimeouts: true });
      mkdirSync(FOLDER, { recursive: true });
      for (const [name, play] of Object.entries(SCENARIOS)) {
        const world = new FakeWorld();
        await time.run(world, async (room) => {
          const handle = await play(time, world, room);
          await handle.result();
          // The first run, which for a release that continued as new ends with that, and the last one.
          const runs = new Set([handle.firstExecutionRunId, (await handle.describe()).runId]);
          let part = 0;
          for (const runId of runs) {
            part += 1;
            const history = await time.env.client.workflow.getHandle(handle.workflowId, runId).fetchHistory();
            withoutStacks(history.events);
            const file = runs.size === 1 ? `${name}.history` : `${name}-${part}.history`;
            writeFileSync(
              path.join(FOLDER, file),
              `${Buffer.from(History.encode(history).finish()).toString('base64')}\n`,
            );
          }
        });
      }
      await time.stop();
    }, 300_000);
  }

  it('replay with the same decisions', async () => {
    const histories = recorded();

    const answers = await replay(histories);

    expect(histories.length).toBeGreaterThanOrEqual(Object.keys(SCENARIOS).length);
    expect(Object.fromEntries(answers)).toEqual(Object.fromEntries(histories.map((one) => [one.workflowId, null])));
  });

  it('tell of a workflow that decides otherwise than it did', async () => {
    const [promoted] = recorded().filter((one) => one.workflowId === 'promoted');
    if (promoted === undefined) throw new Error('There is no recorded promotion.');
    for (const event of promoted.history.events ?? []) {
      const scheduled = event.activityTaskScheduledEventAttributes;
      if (scheduled?.activityType?.name === 'setWeight') scheduled.activityType.name = 'moveTraffic';
    }

    const answers = await replay([promoted]);

    expect(answers.get('promoted')).toMatch(/determinism|TMPRL1100/i);
  });
});
