import type { EvidenceReport } from '../../src/analysis/gather-evidence';
import type { KayentaReport } from '../../src/analysis/kayenta-course';
import type { Measurement, ReleaseStatus } from '../../src/workflows/api';
import { FakeSluice } from './fake-client';
import { run, start } from './harness';
import { withEvidence } from '../report/statuses';
import { anEvent, aRolledBackStatus, aStatus, MEASUREMENT, START } from './statuses';

describe('sluice status', () => {
  it('prints a frame', async () => {
    const ran = await run(['status', 'shop/checkout'], { client: new FakeSluice(aStatus()) });

    expect(ran).toMatchObject({ code: 0, err: '' });
    expect(ran.out).toContain('◌ Soaking');
    expect(ran.out).toContain('canary 0.21 %  stable 0.19 %');
  });

  it('prints the whole status for machines', async () => {
    const client = new FakeSluice(aStatus());

    const json = await run(['status', 'shop/checkout', '-o', 'json'], { client });
    const yaml = await run(['status', 'shop/checkout', '-o', 'yaml'], { client });
    const jsonl = await run(['status', 'shop/checkout', '-o', 'jsonl'], { client });

    expect(JSON.parse(json.out)).toEqual(JSON.parse(JSON.stringify(aStatus())));
    expect(yaml.out).toMatch(/^---\napiVersion: sluice.dev\/v1\nkind: ReleaseStatus\n/u);
    expect(jsonl.out.trimEnd().split('\n')).toHaveLength(1);
  });

  it.each([
    [aStatus(), 8],
    [aRolledBackStatus(), 3],
    [aStatus({ outcome: 'promoted', phase: 'promoted' }), 0],
    [aStatus({ outcome: 'superseded', phase: 'rolledBack' }), 5],
  ])('says by its code how it stands, when asked to', async (status, code) => {
    const client = new FakeSluice(status);

    expect((await run(['status', 'shop/checkout', '--exit-code'], { client })).code).toBe(code);
    expect((await run(['status', 'shop/checkout'], { client })).code).toBe(0);
  });

  it('is an error for a service that never had a release', async () => {
    const ran = await run(['status', 'nobody', '--json'], { client: new FakeSluice() });

    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.out)).toMatchObject({ error: { code: 'not-found' } });
    expect(ran.err).toContain('There is no release of default/nobody.');
  });
});

describe('sluice watch', () => {
  it('prints one line per change where there is no terminal', async () => {
    const client = new FakeSluice(aStatus());
    const running = start(['watch', 'shop/checkout'], { client });

    await running.wrote('alice started the release.');
    client.update(aStatus().release, { weight: 50 }, { message: 'Weight 25 % → 50 %.' });
    await running.wrote('Weight 25 % → 50 %.');
    client.update(aStatus().release, { outcome: 'promoted', phase: 'promoted', endedAt: 1 });
    const ran = await running.ended;

    expect(ran.code).toBe(0);
    expect(ran.err).toBe('');
    expect(ran.out).not.toContain('\u001b');
    expect(ran.out.match(/Weight 25/gu)).toHaveLength(1);
  });

  it('streams one event a line', async () => {
    const ran = await run(['watch', 'shop/checkout', '-o', 'jsonl'], { client: new FakeSluice(aRolledBackStatus()) });

    const events = ran.out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; seq: number });
    expect(events.map(({ kind, seq }) => [kind, seq])).toEqual([
      ['ReleaseEvent', 1],
      ['ReleaseEvent', 2],
      ['ReleaseEvent', 3],
    ]);
    expect(ran.code).toBe(3);
  });

  it('draws no frames on a dumb terminal', async () => {
    const client = new FakeSluice(aRolledBackStatus());

    const ran = await run(['watch', 'shop/checkout'], { client, tty: 80, env: { TERM: 'dumb' } });

    expect(ran.out).not.toContain('\u001b');
    // A dumb terminal is told in ASCII, too.
    expect(ran.out).toMatch(/^[\x20-\x7e\n]*$/u);
  });

  it('is drawn in a terminal that does not know how wide it is', async () => {
    const running = start(['watch', 'shop/checkout'], { client: new FakeSluice(aStatus()), tty: 0 });

    await running.wrote('Soaking');
    running.interrupt();

    expect((await running.ended).code).toBe(130);
  });

  it('detaches on Ctrl-C', async () => {
    const client = new FakeSluice(aStatus());
    const running = start(['watch', 'shop/checkout'], { client, tty: 100 });

    await running.wrote('Soaking');
    running.interrupt();
    const ran = await running.ended;

    expect(ran.code).toBe(130);
    expect(ran.err).toContain('The release continues.');
  });
});

describe('sluice wait', () => {
  it('tells from where the release stands on, and what was before only with -v', async () => {
    const events = [1, 2, 3].map((seq) => anEvent(seq));
    const waiting = async (more: string[]): Promise<string> => {
      const client = new FakeSluice(aStatus({ events, measurements: [] }));
      const running = start(['wait', 'shop/checkout', ...more], { client });
      await running.wrote('Event 3');
      const promoted = { phase: 'promoted', outcome: 'promoted', endedAt: START + 4000 } as const;
      client.update('checkout-20261121-140000-0001', promoted, { message: 'Event 4 happened.' });
      const { err } = await running.ended;
      return (err.match(/Event \d/gu) ?? []).join(', ');
    };

    expect(await waiting([])).toBe('Event 3, Event 4');
    expect(await waiting(['-v'])).toBe('Event 1, Event 2, Event 3, Event 4');
  });

  const HELD = aStatus({ phase: 'paused', message: 'Paused by bob.' });

  it.each([
    ['completed', aStatus({ outcome: 'promoted', phase: 'promoted', endedAt: 1 }), 0],
    ['completed', aRolledBackStatus(), 3],
    ['promoted', aStatus({ outcome: 'rejected', phase: 'rolledBack', endedAt: 1 }), 5],
    ['rolled-back', aRolledBackStatus(), 0],
    ['rolled-back', aStatus({ outcome: 'promoted', phase: 'promoted', endedAt: 1 }), 1],
    ['paused', HELD, 0],
    ['approval', aStatus({ phase: 'awaitingApproval' }), 0],
    ['step=4', aStatus(), 0],
    ['step=7', aStatus({ outcome: 'promoted', phase: 'promoted', endedAt: 1 }), 0],
    ['step=7', aRolledBackStatus(), 3],
  ])('for %s', async (goal, status, code) => {
    const ran = await run(['wait', 'shop/checkout', '--for', goal, '-q'], { client: new FakeSluice(status) });

    expect(ran.code).toBe(code);
  });

  it('waits no longer than it may, and tells a held release from a slow one', async () => {
    const slow = await run(['wait', 'shop/checkout', '--timeout', '20ms'], { client: new FakeSluice(aStatus()) });
    const held = await run(['wait', 'shop/checkout', '--timeout', '20ms'], { client: new FakeSluice(HELD) });
    const atOnce = await run(['wait', 'shop/checkout', '--exit-on-hold'], { client: new FakeSluice(HELD) });

    expect([slow.code, held.code, atOnce.code]).toEqual([124, 8, 8]);
  });

  it.each(['done', 'step=0', 'step=x'])('knows no %s', async (goal) => {
    const ran = await run(['wait', 'shop/checkout', '--for', goal], { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('completed, promoted, rolled-back, paused, approval, step=N');
  });
});

describe('sluice list', () => {
  const client = new FakeSluice(
    aRolledBackStatus(),
    aStatus({ service: 'search', release: 'search-1', namespace: 'shop' }),
  );

  it('prints a table, newest first', async () => {
    const ran = await run(['list'], { client, tty: 120, env: { NO_COLOR: '1' } });

    const lines = ran.out.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^SERVICE +VERSION +STATE +WEIGHT +RELEASE +STARTED +TOOK$/u);
    expect(lines[1]).toMatch(/^shop\/search +1\.42\.0 +◌ Soaking +25 %/u);
    expect(lines[2]).toMatch(/^shop\/checkout +1\.42\.0 +✖ Rolled back +0 %/u);
  });

  it('does not call rolled back what was refused before anything was changed', async () => {
    const refused = new FakeSluice(aStatus({ ...aRolledBackStatus(), refused: true }));
    const ran = await run(['list'], { client: refused });

    expect(ran.out).toContain('Refused');
    expect(ran.out).not.toContain('Rolled back');
  });

  it('is cut to a terminal, and whole elsewhere', async () => {
    const narrow = await run(['list'], { client, tty: 60 });
    const piped = await run(['list'], { client, env: { COLUMNS: '60' } });

    expect(narrow.out).not.toContain('TOOK');
    expect(piped.out.split('\n')[0]).toMatch(/STARTED +TOOK$/u);
  });

  it('answers machines with a list, or one release a line', async () => {
    const json = await run(['list', '--json'], { client });
    const open = await run(['list', '--open', '-o', 'jsonl'], { client });
    const one = await run(['list', 'shop/checkout', '--json'], { client });

    expect(JSON.parse(json.out)).toMatchObject({
      kind: 'ReleaseList',
      items: [{ service: 'search' }, { service: 'checkout' }],
    });
    expect(
      open.out
        .trimEnd()
        .split('\n')
        .map((line) => (JSON.parse(line) as { service: string }).service),
    ).toEqual(['search']);
    expect((JSON.parse(one.out) as { items: unknown[] }).items).toHaveLength(1);
  });

  it('shortens a digest on a terminal, where it would hide the rest, and neither that nor a sentence elsewhere', async () => {
    const image = `ghcr.io/acme/checkout@sha256:${'0123456789abcdef'.repeat(4)}`;
    const message = `The canary of ${image} holds 25 % and is analysed, for as long as ${'very '.repeat(30)}long.`;
    const client = new FakeSluice(aStatus({ version: { from: image, to: image, artifact: null }, message }));

    const terminal = await run(['list'], { client, tty: 160 });
    const status = await run(['status', 'shop/checkout'], { client, tty: 160 });

    for (const { out } of [terminal, status]) expect(out).toContain('ghcr.io/acme/checkout@sha256:0123456789ab…');
    expect(terminal.out).not.toContain('0123456789abc');
    expect((await run(['list'], { client })).out).toContain(image);
    const piped = (await run(['status', 'shop/checkout'], { client })).out;
    expect(piped).toContain(`\nVersion  ${image} → ${image}\n`);
    expect(piped).toContain(`\n${message}\n`);
    expect((await run(['list', '-o', 'json'], { client, tty: 160 })).out).toContain(image);
    expect((await run(['status', 'shop/checkout', '-o', 'json'], { client, tty: 160 })).out).toContain(image);
  });

  it('says on stderr that there are none', async () => {
    expect(await run(['list'], { client: new FakeSluice() })).toEqual({
      code: 0,
      out: '',
      err: 'There are no such releases.\n',
    });
  });

  it('takes only a number of releases', async () => {
    expect((await run(['list', '--limit', 'many'], { client })).code).toBe(2);
  });
});

describe('sluice history', () => {
  it('tells the story with its evidence and who did what', async () => {
    const ran = await run(['history', 'shop/checkout'], { client: new FakeSluice(aRolledBackStatus()) });

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('2026-11-21 14:00:01Z   0 % ◌ alice started the release.');
    expect(ran.out).toContain('by alice via ci');
    expect(ran.out).toContain('✖ error-rate  FAIL  canary 20 %');
  });

  it('tells a reason and its evidence once, and refers to it after that', async () => {
    const rolledBack = aRolledBackStatus();
    const [started, failed, ended] = rolledBack.events;
    const reason = failed?.message ?? '';
    const status = {
      ...rolledBack,
      events: [
        started,
        { ...failed, message: `weight 25 % failed: 1 measurement failed: ${reason}` },
        {
          ...failed,
          seq: 3,
          type: 'rollbackStarted',
          message: `Rolling back to 1.41.0: 1 measurement failed: ${reason}`,
        },
        { ...ended, seq: 4, message: `Rolled back to 1.41.0: 1 measurement failed: ${reason}` },
      ],
    } as ReleaseStatus;

    const { out } = await run(['history', 'shop/checkout'], { client: new FakeSluice(status) });

    expect(out.replace(/\s+/g, ' ').match(/12 of 60 canary requests failed/g)).toHaveLength(1);
    expect(out.match(/error-rate {2}FAIL/g)).toHaveLength(1);
    expect(out).toContain('✖ Rolling back to 1.41.0, for the reason above.');
    expect(out).toContain('✖ Rolled back to 1.41.0, for the reason above.');
  });

  it('answers machines with all events', async () => {
    const client = new FakeSluice(aRolledBackStatus());

    const json = await run(['history', 'shop/checkout', '--json'], { client });
    const jsonl = await run(['history', 'shop/checkout', '-o', 'jsonl'], { client });

    expect(JSON.parse(json.out)).toMatchObject({ kind: 'ReleaseHistory', items: [{ seq: 1 }, { seq: 2 }, { seq: 3 }] });
    expect(jsonl.out.trimEnd().split('\n')).toHaveLength(3);
  });
});

describe('sluice explain', () => {
  it('says why each step ended as it did, with numbers, counts and queries', async () => {
    const ran = await run(['explain', 'shop/checkout'], { client: new FakeSluice(aRolledBackStatus()) });

    expect(ran.code).toBe(0);
    expect(ran.out).toContain('Step 4, weight 25 %: failed after 2m17s, verdict fail');
    expect(ran.out).toContain('12 of 60 canary requests failed (20 %), more than the allowed 5 %.');
    expect(ran.out).toContain('counts: canary 18200 requests, stable 54600 requests');
    expect(ran.out).toContain('query: sum(increase(http_requests_total{track="canary"}[60s]))');
    expect(ran.out).not.toContain('Step 5');
  });

  it('lists each look of a step that is kept, with why it did not pass', async () => {
    const [errors, latency] = MEASUREMENT.metrics;
    if (errors === undefined || latency === undefined) throw new Error('there are two metrics');
    const few = 'error-rate: the canary had 8 requests, fewer than the 20 a verdict needs.';
    const looks: Measurement[] = [
      {
        ...{ ...MEASUREMENT, at: START + 170_000, verdict: 'insufficient-data', sentence: 'Both.' },
        metrics: [{ ...errors, verdict: 'insufficient-data', sentence: few }, latency],
      },
      { ...MEASUREMENT, at: START + 175_000, metrics: [errors, { ...latency, dryRun: true }] },
      { ...MEASUREMENT, at: START + 180_000, verdict: 'error', sentence: 'The source is away.', metrics: [] },
    ];
    const of = async (...more: string[]): Promise<string> => {
      const base = aStatus();
      const evidence = looks.at(-1) ?? MEASUREMENT;
      const events = [...base.events, anEvent(2, { evidence: { ...MEASUREMENT, at: START + 90_000 } })];
      const steps = base.steps.map((step, index) => (index === 3 ? { ...step, evidence } : step));
      const client = new FakeSluice({ ...base, events, steps, measurements: looks });
      return (await run(['explain', 'shop/checkout', '--step', '4', ...more], { client })).out;
    };

    expect(await of()).toContain(`
  26 measurements were taken, of which the release has kept 4:
    2026-11-21 14:01:30Z  ✔ pass
    2026-11-21 14:02:50Z  • insufficient data  error-rate: the canary had 8 requests, fewer than the
                                               20 a verdict needs.
                                               p95-latency: no data for the canary: there were no
                                               requests in the window.
    2026-11-21 14:02:55Z  ✔ pass
    2026-11-21 14:03:00Z  ⚠ source error       The source is away.
  The last measurement: 2026-11-21 14:03:00Z`);
    expect(JSON.parse(await of('-o', 'json'))).toMatchObject({
      steps: [
        {
          ...{ measurements: 26, evidence: { verdict: 'error' } },
          keptMeasurements: [{ at: START + 90_000 }, ...looks],
        },
      ],
    });
  });

  it('says what was counted of a metric over the release, by what it is divided, and what the spec says of it', async () => {
    const status = aRolledBackStatus();
    const steps = status.steps.map((step) => {
      if (step.evidence === null) return step;
      const metrics = step.evidence.metrics.map((metric) => ({ ...withEvidence(metric, 5.75), note: 'Ask the shop.' }));
      return { ...step, evidence: { ...step.evidence, metrics } };
    });

    const { out } = await run(['explain', 'shop/checkout', '--step', '4'], {
      client: new FakeSluice({ ...status, steps }),
    });

    expect(out.replace(/\s+/gu, ' ')).toMatch(
      /note: Ask the shop\. .* over the whole release \d+ of 1500 canary and 145 of 28500 stable requests were bad, counted 50 times: that proves the canary worse than stable evidence: ln E 5\.75, fails at 5\.30; divided by 2, for those of one cause counted by: sum by \(job, instance\) \(errors\)/u,
    );
  });

  it.each([
    [{ batches: 1 }, 'pass', 'counted once: that does not prove the canary worse than stable evidence: ln E 1.55,'],
    [{ batches: 2, boundary: 0.25 }, 'pass', 'stable requests were slower than 250 ms, counted twice: that does not'],
    // Proven by an earlier look.
    [{ batches: 3 }, 'fail', 'were bad, counted 3 times evidence: ln E 1.55, fails at 5.30'],
    [{ batches: 0 }, 'pass', 'over the whole release nothing has been counted of both tracks yet evidence: ln E'],
  ] as const)('says first in plain words what %j is, of a metric with the verdict %s', async (more, verdict, text) => {
    const status = aRolledBackStatus();
    const steps = status.steps.map((step) => {
      if (step.evidence === null) return step;
      const metrics = step.evidence.metrics.map((metric) => {
        const { evidence, ...others } = withEvidence(metric, 1.55);
        return { ...others, verdict, ...(evidence && { evidence: { ...evidence, ...more } }) };
      });
      return { ...step, evidence: { ...step.evidence, metrics } };
    });

    const { out } = await run(['explain', 'shop/checkout', '--step', '4'], {
      client: new FakeSluice({ ...status, steps }),
    });

    expect(out.replace(/\s+/gu, ' ')).toContain(text);
  });

  it('says what one look asked and was answered, of both tracks', async () => {
    const explained = async (more: Partial<EvidenceReport>): Promise<string> => {
      const status = aRolledBackStatus();
      const steps = status.steps.map((step) => {
        if (step.evidence === null) return step;
        const metrics = step.evidence.metrics.map((metric) => {
          const { evidence, ...others } = withEvidence(metric, 5.75);
          return { ...others, stableQuery: 'of stable', ...(evidence && { evidence: { ...evidence, ...more } }) };
        });
        return { ...step, evidence: { ...step.evidence, metrics } };
      });
      const client = new FakeSluice({ ...status, steps });
      const { out } = await run(['explain', 'shop/checkout', '--step', '4'], { client });
      return out.replace(/\s+/gu, ' ');
    };
    const asked = { from: START, to: START + 5_000 };
    const canary = { bad: 7, total: 25 };
    const stable = { bad: 2, total: 475 };

    expect(await explained({})).toContain("stable's query: of stable");
    expect(await explained({})).not.toContain('this look');
    expect(await explained({ asked })).toContain(
      'this look, from 2026-11-21 14:00:00Z to 2026-11-21 14:00:05Z: nothing was counted',
    );
    expect(await explained({ objective: { share: 0.01, logEvidence: 1, slowerThan: 0.5 } })).toContain(
      'objective 1 % slower than 500 ms: ln E 1.00',
    );
    expect(await explained({ asked, batch: { canary, stable } })).toContain(
      ': 7 of 25 canary and 2 of 475 stable requests bad counted by',
    );
    expect(
      await explained({ asked: { ...asked, from: null }, batch: { canary, stable: null, boundary: 0.25, open: true } }),
    ).toContain(
      'since the weight was set to 2026-11-21 14:00:05Z: 7 of 25 canary requests slower than 250 ms; kept open for the next, since not both had requests',
    );
  });

  it("says what Kayenta's judge makes of a weight, and why it was not asked", async () => {
    const status = aRolledBackStatus();
    const explained = async (kayenta: KayentaReport): Promise<string> => {
      const steps = status.steps.map((step) =>
        step.evidence === null ? step : { ...step, evidence: { ...step.evidence, kayenta } },
      );
      const client = new FakeSluice({ ...status, steps });
      const { out } = await run(['explain', 'shop/checkout', '--step', '4'], { client });
      return out.replace(/\s+/gu, ' ');
    };
    const metric = { name: 'error-rate', classification: 'High', criticalFailure: false } as const;
    const metrics = [{ ...metric, sentence: 'error-rate: the experiment is 0.02 higher.' }];
    const result = { metrics, groups: { errors: 0, latency: 200 / 3 }, score: 26.67, classification: 'Fail' } as const;

    expect(await explained({ verdict: 'fail', sentence: 'Score 26.67.', looks: 12, result })).toContain(
      "✖ Kayenta's judge Fail, score 26.67 groups: errors 0, latency 66.67 High: error-rate: the experiment is 0.02 higher.",
    );
    const sentence = "Kayenta's judge was not asked: there is no stable track.";
    expect(await explained({ verdict: 'inconclusive', sentence, looks: 0, result: null })).toContain(
      `Kayenta's judge ${sentence}`,
    );
  });

  it('explains one step, also to machines', async () => {
    const ran = await run(['explain', 'shop/checkout', '--step', '4', '--json'], {
      client: new FakeSluice(aRolledBackStatus()),
    });

    expect(JSON.parse(ran.out)).toMatchObject({
      kind: 'ReleaseExplanation',
      outcome: 'rolledBack',
      steps: [{ number: 4, state: 'failed', evidence: { verdict: 'fail' } }],
    });
  });

  it('names the steps there are when asked for another', async () => {
    const ran = await run(['explain', 'shop/checkout', '--step', '9'], { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('The release has no step 9.');
    expect(ran.err).toContain('It has 7: 1 deploy, 2 smoke test');
  });

  it('refuses a step that is no number before anything is asked', async () => {
    const ran = await run(['explain', 'shop/checkout', '--step', 'soak'], { client: new FakeSluice(aStatus()) });

    expect(ran.code).toBe(2);
    expect(ran.err).toContain('--step is "soak", which is no step\'s number.');
  });
});
