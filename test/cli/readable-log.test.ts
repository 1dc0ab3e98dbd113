import { createReadableLogger, readableLine } from '../../src/cli/readable-log';

const LOOK = { color: false, ascii: false, width: 100, isTerminal: false };
const AT = Date.UTC(2026, 10, 21, 14, 3, 7);

describe('the log for people', () => {
  it('says what happened to which release, and leaves out what only Temporal has a use for', () => {
    const lines: string[] = [];
    const logger = createReadableLogger((line) => lines.push(line), LOOK, 'info');

    logger.warn(
      {
        ...{ sdkComponent: 'worker', taskQueue: 'sluice', isLocal: false, attempt: 2, namespace: 'default' },
        ...{ taskToken: 'CiQwMWExZmUwZC1jNWRm', activityId: '2', activityType: 'deploy', workflowRunId: '01a1' },
        ...{ workflowId: 'release:demo/shop', runId: '01a1', workflowType: 'release', release: 'shop-1', seq: 4 },
        error: new Error('the instance is away'),
      },
      'Activity failed',
    );

    expect(lines).toEqual([
      expect.stringMatching(
        /^\d\d:\d\d:\d\dZ warn {2}Activity failed {2}attempt=2 activityType=deploy workflowId=release:demo\/shop release=shop-1 error="the instance is away"$/,
      ),
    ]);
  });

  it("reads the lines of Temporal's server, by their own level and time", () => {
    const line = JSON.stringify({
      level: 'error',
      ts: new Date(AT).toISOString(),
      msg: 'no space left',
      component: 'matching',
      'logging-call-at': 'x.go:1',
    });

    expect(readableLine(line, LOOK)).toBe('14:03:07Z error no space left  component=matching');
  });

  it('shows what is no JSON as it is', () => {
    expect(readableLine('panic: \u001b[31mout of memory', LOOK)).toContain('panic: ');
  });
});
