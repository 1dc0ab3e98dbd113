import { stripVTControlCharacters } from 'node:util';
import { displayWidth } from '../../src/cli/display-width';
import { changeLines, renderFrame } from '../../src/cli/live-view';
import type { Look } from '../../src/cli/style';
import { anEvent, aRolledBackStatus, aStatus, MEASUREMENT, START } from './statuses';

const NOW = START + 191_000;
const PLAIN: Look = { color: false, ascii: false, width: 100, isTerminal: true };

function frame(look: Partial<Look>, status = aStatus()): string[] {
  return renderFrame(status, { ...PLAIN, ...look, now: NOW });
}

describe('the frame of a release', () => {
  it('reads like this at 80 columns', () => {
    expect(`\n${frame({ width: 80 }).join('\n')}\n`).toMatchInlineSnapshot(`
     "
     shop/checkout                     release checkout-20261121-140000-0001 (router)
     Status   ◌ Soaking  step 4/7  soak 02:09/05:00  running 3m11s
     Version  1.41.0 → 1.42.0
     Weight   ████████░░░░░░░░░░░░░░░░░░░░░░ target 25 %  observed 24.6 %
     By       alice via ci: the new basket
     ├─✔ 1 deploy            1.2s    Up.
     ├─✔ 2 smoke test        300ms
     ├─✔ 3 weight 5 %        1m00s   12 measured  12 of 12 measurements passed, at l…
     ├─◌ 4 weight 25 %       2m09s   26 measured
     │   ├─✔ error-rate    canary 0.21 %  stable 0.19 %  max 1 %  n=18.2k
     │   └─• p95-latency   insufficient data  stable 290 ms  no data for the canary:…
     ├─• 5 approval
     ├─• 6 weight 100 %
     └─• 7 promote
     The canary holds 25 % and is analysed.
     Next: approval in 02:50, if the evidence is good
     "
    `);
  });

  it('reads like this at 60 columns in ASCII', () => {
    expect(`\n${frame({ width: 60, ascii: true }).join('\n')}\n`).toMatchInlineSnapshot(`
     "
     shop/checkout
     Status   * Soaking  step 4/7  soak 02:09/05:00  running 3m1~
     Version  1.41.0 -> 1.42.0
     Weight   ###....... target 25 %  observed 24.6 %
     By       alice via ci: the new basket
     |-+ 1 deploy            1.2s    Up.
     |-+ 2 smoke test        300ms
     |-+ 3 weight 5 %        1m00s   12 measured  12 of 12 measu~
     |-* 4 weight 25 %       2m09s   26 measured
     |   |-+ error-rate    canary 0.21 %  stable 0.19 %  max 1 %~
     |   \`-. p95-latency   insufficient data  stable 290 ms  no~
     |-. 5 approval
     |-. 6 weight 100 %
     \`-. 7 promote
     The canary holds 25 % and is analysed.
     Next: approval in 02:50, if the evidence is good
     "
    `);
  });

  it('reads like this at 120 columns after a roll back', () => {
    expect(`\n${frame({ width: 120 }, aRolledBackStatus()).join('\n')}\n`).toMatchInlineSnapshot(`
     "
     shop/checkout                                                             release checkout-20261121-140000-0001 (router)
     Status   ✖ Rolled back  took 3m20s
     Version  1.41.0 → 1.42.0
     Weight   ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░ target 0 %
     By       alice via ci: the new basket
     ├─✔ 1 deploy            1.2s    Up.
     ├─✔ 2 smoke test        300ms
     ├─✔ 3 weight 5 %        1m00s   12 measured  12 of 12 measurements passed, at least 3 had to.
     ├─✖ 4 weight 25 %       2m17s   26 measured  12 of 60 canary requests failed (20 %), more than the allowed 5 %.
     │   └─✖ error-rate    FAIL  canary 20 %  stable 0.19 %  max 1 %  n=18.2k
     ├─• 5 approval
     ├─• 6 weight 100 %
     └─• 7 promote
     Rolled back to 1.41.0: 12 of 60 canary requests failed (20 %), more than the allowed 5 %.
     "
    `);
  });

  const statuses = {
    soaking: aStatus(),
    rolledBack: aRolledBackStatus(),
    paused: aStatus({
      phase: 'paused',
      paused: { since: START, by: { name: 'bob', via: 'cli' }, reason: 'looking', cause: 'person' },
    }),
    approval: aStatus({
      phase: 'awaitingApproval',
      soak: null,
      approval: { step: 4, by: ['oncall', 'leads'], since: START, expiresAt: START + 14_400_000, onExpiry: 'rollback' },
    }),
    stuck: aStatus({ phase: 'rollingBack', stuck: { since: START, message: 'no instance answers', attempts: 12 } }),
    simulated: aStatus({ simulated: true, successors: ['checkout-2', 'checkout-3'] }),
    wide: aStatus({ service: 'カート', message: '新しいカートを出しています 🎉🎉 '.repeat(5), reason: '新しい' }),
  };

  describe.each(Object.entries(statuses))('of a release that is %s', (_name, status) => {
    it.each([40, 60, 80, 120, 200])('is never wider than %i columns', (width) => {
      for (const color of [false, true]) {
        for (const line of frame({ width, color }, status)) expect(displayWidth(line)).toBeLessThanOrEqual(width);
      }
    });

    it('is ASCII where only ASCII can be shown', () => {
      for (const line of frame({ ascii: true }, status)) expect(line).toMatch(/^[\x20-\x7e]*$/u);
    });

    it('says the same with and without colours', () => {
      expect(frame({ color: true }, status).map(stripVTControlCharacters)).toEqual(frame({ color: false }, status));
    });
  });

  it.each([
    [
      'insufficient-data',
      'error-rate: the canary had 8 requests, fewer than the 20 a verdict needs.',
      'insufficient data  canary 0 %  stable 0 %  n=8  the canary had 8 requests, fewer than the 20 a verdict needs.',
    ],
    [
      'inconclusive',
      '0 of 8 canary requests failed (0 %); it cannot be compared: stable had no requests; really.',
      'inconclusive  canary 0 %  stable 0 %  n=8  it cannot be compared: stable had no requests; really.',
    ],
    ['fail', '3 of 8 canary requests failed.', 'FAIL  canary 0 %  stable 0 %  max 1 %  n=8'],
  ] as const)('says of a metric that is %s why it was not judged, and its name once', (verdict, sentence, line) => {
    const [errors] = MEASUREMENT.metrics;
    if (errors === undefined) throw new Error('there is a metric');
    const metric = { ...errors, ...{ verdict, sentence, canary: 0, stable: 0, canaryRequests: 8.4 } };
    const measurement = { ...MEASUREMENT, metrics: [metric] };
    const steps = aStatus().steps.map((step, index) => (index === 3 ? { ...step, evidence: measurement } : step));

    const lines = frame({ width: 200 }, aStatus({ steps, measurements: [measurement] }));

    expect(lines.find((each) => each.includes('error-rate'))?.trimEnd()).toMatch(
      new RegExp(`error-rate +${line}$`, 'u'),
    );
  });

  it('lets nothing from outside move the cursor', () => {
    const status = aStatus({ message: 'all\u001b[2Jgone\r\nand\u0007rung', reason: '\u001b]0;title\u0007x' });

    for (const line of frame({}, status)) expect(line).not.toMatch(/[\x00-\x1f\x7f]/u);
  });

  it('says whose help it waits for', () => {
    const text = frame({}, statuses.approval).join('\n');

    expect(text).toContain('`sluice approve shop/checkout` by oncall, leads within 3h56m, else it rolls back');
  });

  it('says how long a promoted release still has a way back, and not that it runs', () => {
    const keepOld = { since: START + 130_000, until: START + 900_000, version: '1.41.3' };
    const text = frame({}, aStatus({ outcome: 'promoted', phase: 'promoted', soak: null, keepOld })).join('\n');

    expect(text).toMatch(/Promoted .*took 2m10s/u);
    expect(text).toMatch(/Next: 1\.41\.3 is scaled down in \S+; `sluice rollback shop\/checkout` goes back/u);
  });

  describe('of a roll back that cannot finish', () => {
    const stuck = { since: START, message: 'pods "shop" is forbidden', attempts: 12 };
    const message = 'The roll back cannot finish, try 8 (pods back to 2): pods "shop" is forbidden';

    it.each(['kubernetes', 'router'] as const)('says the reason once, and the ways out (%s)', (target) => {
      const text = frame({ isTerminal: false }, aStatus({ phase: 'rollingBack', soak: null, target, stuck, message }));

      const onCluster = target === 'kubernetes';
      const rights = onCluster ? ' (a missing right: `sluice rbac release.yaml`)' : '';
      const direct = onCluster ? '; `sluice rollback shop/checkout --direct` rolls back by your own kubeconfig' : '';
      expect(text.slice(-3)).toEqual([
        '✖ Stuck for 3m11s after 12 attempts.',
        message,
        `Next: it is tried again by itself, and at once by \`sluice rollback shop/checkout\` when what fails is mended${rights}${direct}; \`sluice rollback shop/checkout --abandon\` gives up what is left`,
      ]);
    });

    it('says the reason itself where the last sentence is about something else', () => {
      const text = frame({}, aStatus({ phase: 'rollingBack', stuck, message: 'Resumed.' }));

      expect(text).toContain('✖ Stuck for 3m11s after 12 attempts: pods "shop" is forbidden');
    });

    it('cuts nothing of it on a terminal', () => {
      const text = frame({ width: 60 }, aStatus({ phase: 'rollingBack', target: 'kubernetes', stuck, message }));

      expect(text.join(' ')).toContain('`sluice rollback shop/checkout --abandon` gives up what is left');
    });
  });

  it('says on its own line that numbers are made up', () => {
    expect(frame({}, statuses.simulated)[1]).toContain('SIMULATED');
  });
});

describe('one line per change', () => {
  it('tells each event once', () => {
    const before = aStatus();
    const after = aStatus({
      events: [...before.events, anEvent(2, { type: 'paused', message: 'Paused.', weight: 25 })],
    });

    expect(changeLines(before, after, PLAIN)).toEqual([expect.stringContaining('25 % ⚠ Paused.')]);
    expect(changeLines(after, after, PLAIN)).toEqual([]);
  });

  it('tells a measurement only when the verdict changes', () => {
    const before = aStatus();
    const again = { ...MEASUREMENT, at: MEASUREMENT.at + 5000 };
    const failed = {
      ...MEASUREMENT,
      at: MEASUREMENT.at + 5000,
      verdict: 'fail' as const,
      sentence: 'Too many errors.',
    };

    expect(changeLines(before, aStatus({ measurements: [MEASUREMENT, again] }), PLAIN)).toEqual([]);
    expect(changeLines(before, aStatus({ measurements: [MEASUREMENT, failed] }), PLAIN)).toEqual([
      expect.stringContaining('✖ FAIL: Too many errors.'),
    ]);
  });

  it('tells them in the order they happened', () => {
    const lines = changeLines(null, aRolledBackStatus(), PLAIN);

    expect(lines.map((line) => line.replace(/^\S+ +/u, '').slice(0, 12))).toEqual([
      '0 % ◌ alice ',
      '25 % ✖ FAIL:',
      '25 % ✖ 12 of',
      '0 % ✖ Rolled',
    ]);
  });
});
