import { renderMessage, renderNews, type SlackBlock } from '../../src/notify/render-slack';
import { ALICE, eventOf, evidenceOf, statusOf, stepOf } from './statuses';

function textOf(blocks: readonly SlackBlock[]): string {
  return blocks
    .map((block) => (block.type === 'section' ? block.text.text : block.elements.map(({ text }) => text).join('\n')))
    .join('\n---\n');
}

describe("a release's message", () => {
  it('says what, where to, how far, why and who', () => {
    const { text, blocks } = renderMessage(statusOf());

    expect(text).toBe('shop/checkout 1.4.1 → 1.4.2: analysing');
    expect(textOf(blocks)).toBe(
      [
        '*shop/checkout*  1.4.1 → 1.4.2',
        '◌ *analysing* Weight 25 %, 12 s of 60 s.',
        '---',
        '✔ deploy',
        '✔ weight 5 %',
        '◌ weight 25 %: 2 of 3 measurements passed.',
        '• weight 100 %',
        '• promote',
        '---',
        'weight 25 % (observed 24.6 %)  ·  started by alice (cli)  ·  reason: ticket 42  ·  release checkout-20240611-1200',
      ].join('\n'),
    );
  });

  it('says why a step failed', () => {
    const status = statusOf({
      phase: 'rolledBack',
      outcome: 'rolledBack',
      message: 'Rolled back to 1.4.1.',
      namespace: 'default',
      weight: 0,
      observedShare: null,
      reason: null,
      steps: [
        stepOf('deploy', 'passed'),
        stepOf('weight 25 %', 'failed', { evidence: evidenceOf('7 of 112 canary requests failed (6.3 %).') }),
        stepOf('promote', 'skipped'),
      ],
    });

    const { text, blocks } = renderMessage(status);

    expect(text).toBe('checkout 1.4.1 → 1.4.2: rolled back');
    expect(textOf(blocks)).toBe(
      [
        '*checkout*  1.4.1 → 1.4.2',
        '↩ *rolled back* Rolled back to 1.4.1.',
        '---',
        '✔ deploy',
        '✖ weight 25 %: 7 of 112 canary requests failed (6.3 %).',
        '– promote',
        '---',
        'weight 0 %  ·  started by alice (cli)  ·  release checkout-20240611-1200',
      ].join('\n'),
    );
  });

  it.each([
    ['starting', '◌ *starting*'],
    ['awaitingApproval', '✋ *waiting for approval*'],
    ['paused', '⏸ *paused*'],
    ['promoted', '✔ *promoted*'],
    ['failed', '✖ *failed: a person is needed*'],
  ] as const)('shows %s with a sign and a word', (phase, expected) => {
    expect(textOf(renderMessage(statusOf({ phase })).blocks)).toContain(expected);
  });

  it('does not call rolled back what was refused before anything was changed', () => {
    const { text, blocks } = renderMessage(statusOf({ phase: 'rolledBack', outcome: 'rolledBack', refused: true }));

    expect(text).toMatch(/: refused, nothing was changed$/);
    expect(textOf(blocks)).toContain('✖ *refused, nothing was changed*');
    expect(renderNews(eventOf(1, 'rollbackStarted'), { refused: true })).toBeNull();
    expect(renderNews(eventOf(2, 'rolledBack'), { refused: true })?.text).toMatch(
      /^✖ \*refused, nothing was changed\*: /,
    );
  });

  it('says that metrics are made up', () => {
    const { text, blocks } = renderMessage(
      statusOf({ simulated: true, version: { from: null, to: '1.4.2', artifact: null } }),
    );

    expect(text).toBe('shop/checkout ? → 1.4.2: analysing (simulated metrics)');
    expect(textOf(blocks)).toContain('◌ *analysing* (simulated metrics) Weight');
  });

  it('disarms mentions and links in what people write', () => {
    const { blocks } = renderMessage(statusOf({ reason: '<!here> a < b & <https://evil|click>\nnext line' }));

    expect(textOf(blocks)).toContain('reason: &lt;!here&gt; a &lt; b &amp; &lt;https://evil|click&gt; next line');
  });

  it.each([
    ['xoxb-123-456-abcDEF', 'token [removed] leaked'],
    ['Bearer eyJhbGciOi.abc', 'token Bearer [removed] leaked'],
    ['https://user:hunter2@host/x', 'token https://[removed]@host/x leaked'],
    ['password=hunter2', 'token password=[removed] leaked'],
  ])('shows no secret like %s', (secret, expected) => {
    expect(textOf(renderMessage(statusOf({ reason: `token ${secret} leaked` })).blocks)).toContain(expected);
  });

  it('keeps within the limits of a block with a hundred steps, and shows the running one', () => {
    for (const running of [0, 50, 99]) {
      const steps = Array.from({ length: 100 }, (_, index) =>
        stepOf(
          `weight ${index} %, &&& with a rather long name`,
          index < running ? 'passed' : index === running ? 'running' : 'pending',
        ),
      );

      const [, section] = renderMessage(statusOf({ steps })).blocks;

      const text = section === undefined ? '' : textOf([section]);
      expect(text.length).toBeLessThan(3000);
      expect(text).toContain(`◌ weight ${running} %`);
      expect(text).toMatch(/… \d+ steps (before|more)/);
    }
  });

  it('is whole before there is a step', () => {
    expect(textOf(renderMessage(statusOf({ steps: [] })).blocks)).toContain('\n---\n–\n---\n');
  });
});

describe('news in the thread', () => {
  it('carries the evidence and who it was', () => {
    const failed = eventOf(5, 'stepFailed', {
      message: 'weight 25 % failed.',
      evidence: evidenceOf('7 of 112 canary requests failed (6.3 %).'),
    });
    const paused = eventOf(6, 'paused', { message: 'Paused: wait for <the> team.', actor: ALICE });

    expect(renderNews(failed)).toMatchObject({
      text: '✖ *step failed*: weight 25 % failed.\n> 7 of 112 canary requests failed (6.3 %).',
      loud: false,
    });
    expect(renderNews(paused)?.text).toBe('⏸ *paused*: Paused: wait for &lt;the&gt; team.\nby alice (cli)');
  });

  it('does not say the same twice', () => {
    const event = eventOf(5, 'stepFailed', { message: 'Too many errors.', evidence: evidenceOf('Too many errors.') });

    expect(renderNews(event)?.text).toBe('✖ *step failed*: Too many errors.');
  });

  it.each(['approvalRequested', 'compensationFailed', 'failed'] as const)('tells the whole channel of %s', (type) => {
    expect(renderNews(eventOf(1, type))?.loud).toBe(true);
  });

  it.each(['started', 'deployed', 'weightChanged', 'stepPassed', 'notificationFailed'] as const)(
    'is not made of %s',
    (type) => {
      expect(renderNews(eventOf(1, type))).toBeNull();
    },
  );
});
