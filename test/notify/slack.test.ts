import type { ServerResponse } from 'node:http';
import type { NotifySlackInput } from '../../src/workflows/activity-types';
import { SlackFailure } from '../../src/notify/slack-failure';
import { createSlackNotifier } from '../../src/notify/slack';
import { startFakeSlack, type FakeSlack } from './fake-slack';
import { eventOf, statusOf } from './statuses';

const TOKEN = 'xoxb-not-a-real-token';

let slack: FakeSlack;

beforeEach(async () => {
  slack = await startFakeSlack();
});

afterEach(async () => {
  await slack.close();
});

function notifierOf(timeoutMs = 10_000) {
  return createSlackNotifier({ token: TOKEN, apiUrl: slack.url, timeoutMs });
}

function inputOf(changes: Partial<NotifySlackInput> = {}): NotifySlackInput {
  return { channel: '#deploys', message: null, status: statusOf(), news: [], ...changes };
}

async function failureOf(work: Promise<unknown>): Promise<SlackFailure> {
  const error: unknown = await work.then(
    () => new Error('it did not fail'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof SlackFailure)) throw error;
  return error;
}

function hangUp(response: ServerResponse): void {
  response.destroy();
}

function refuse(error: string) {
  return (response: ServerResponse): void => void response.end(JSON.stringify({ ok: false, error }));
}

describe('one message per release', () => {
  it('is posted first, and edited from then on', async () => {
    const notifier = notifierOf();

    const message = await notifier.notify(inputOf());
    const again = await notifier.notify(inputOf({ message, status: statusOf({ phase: 'promoted' }) }));

    expect(message).toEqual({ channel: 'C0DEPLOYS1', ts: '1700000001.000100' });
    expect(again).toEqual(message);
    expect(slack.messages).toEqual([
      expect.objectContaining({
        threadTs: null,
        text: 'shop/checkout 1.4.1 → 1.4.2: promoted',
        edits: 1,
        metadata: { event_type: 'sluice_release', event_payload: { release: 'checkout-20240611-1200' } },
      }),
    ]);
    expect(slack.calls.map(({ method }) => method)).toEqual(['chat.postMessage', 'chat.update']);
    expect(slack.calls[0]).toMatchObject({
      authorization: `Bearer ${TOKEN}`,
      form: { channel: '#deploys', unfurl_links: 'false', unfurl_media: 'false' },
    });
    expect(slack.calls.every(({ form }) => !JSON.stringify(form).includes(TOKEN))).toBe(true);
  });

  it('has the news that matters in its thread, in order', async () => {
    const news = [
      eventOf(1, 'started'),
      eventOf(2, 'stepFailed'),
      eventOf(3, 'rollbackStarted'),
      eventOf(4, 'compensated'),
      eventOf(5, 'failed'),
    ];

    const { ts } = await notifierOf().notify(inputOf({ news }));

    expect(slack.messages.slice(1)).toMatchObject([
      { threadTs: ts, broadcast: false, metadata: { event_payload: { seq: 2 } } },
      { threadTs: ts, broadcast: false, metadata: { event_payload: { seq: 3 } } },
      { threadTs: ts, broadcast: true, metadata: { event_payload: { seq: 5 } } },
    ]);
  });

  it('is posted anew when somebody deleted it', async () => {
    const message = { channel: 'C0DEPLOYS1', ts: '1600000000.000100' };

    const anew = await notifierOf().notify(inputOf({ message }));

    expect(anew.ts).not.toBe(message.ts);
    expect(slack.messages).toHaveLength(1);
  });
});

describe('tried again', () => {
  it('does not tell an event twice', async () => {
    const news = [eventOf(2, 'stepFailed'), eventOf(3, 'rollbackStarted'), eventOf(4, 'rolledBack')];
    const message = await notifierOf().notify(inputOf());
    await notifierOf().notify(inputOf({ message, news: news.slice(0, 1) }));
    slack.faults.push({ method: 'chat.postMessage', after: true, answer: hangUp });

    await failureOf(notifierOf().notify(inputOf({ message, news })));
    await notifierOf().notify(inputOf({ message, news }));

    const told = slack.messages.slice(1).map(({ metadata }) => metadata);
    expect(told).toMatchObject([2, 3, 4].map((seq) => ({ event_payload: { seq } })));
  });

  it('finds the message of a post whose answer was lost, also in another worker', async () => {
    slack.faults.push({ method: 'chat.postMessage', after: true, answer: hangUp });

    await failureOf(notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1' })));
    const message = await notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1' }));

    expect(slack.messages).toHaveLength(1);
    expect(message.ts).toBe(slack.messages[0]?.ts);
  });

  it('takes no other release for its own', async () => {
    await notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1', status: statusOf({ release: 'another' }) }));

    await notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1', news: [eventOf(2, 'paused')] }));
    await notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1' }));

    expect(slack.messages.map(({ threadTs }) => threadTs === null)).toEqual([true, true, false]);
  });

  it('remembers the message of a name while the same worker tries', async () => {
    const notifier = notifierOf();
    slack.faults.push({ method: 'conversations.replies', answer: hangUp });

    await failureOf(notifier.notify(inputOf({ news: [eventOf(2, 'paused')] })));
    await notifier.notify(inputOf({ news: [eventOf(2, 'paused')] }));

    expect(slack.messages.map(({ threadTs }) => threadTs === null)).toEqual([true, false]);
  });

  it('tells what it has to without the right to read', async () => {
    slack.forbidden.add('conversations.history').add('conversations.replies');

    await notifierOf().notify(inputOf({ channel: 'C0DEPLOYS1', news: [eventOf(2, 'paused')] }));

    expect(slack.messages).toHaveLength(2);
  });
});

describe('a Slack that does not take it', () => {
  it.each<[string, (response: ServerResponse) => void, Partial<SlackFailure>]>([
    [
      'limits the rate',
      (r) => void r.writeHead(429, { 'Retry-After': '17' }).end(),
      { message: 'Slack limits the rate, and asks to wait 17 s.', retryable: true, retryAfterMs: 17_000 },
    ],
    [
      'limits the rate without a time',
      (r) => void r.writeHead(429).end(),
      { message: 'Slack limits the rate.', retryable: true },
    ],
    [
      'is broken',
      (r) => void r.writeHead(500).end('<html>oops</html>'),
      { message: 'Slack answered 500.', retryable: true },
    ],
    [
      'knows no such method',
      (r) => void r.writeHead(404).end('no'),
      { message: 'Slack answered 404.', retryable: false },
    ],
    [
      'answers HTML',
      (r) => void r.end('<html>xoxb-secret</html>'),
      { message: 'Slack answered something that is not JSON.', retryable: true },
    ],
    [
      'hangs up',
      hangUp,
      { message: expect.stringMatching(/^Slack cannot be reached \([A-Z_]+\)\.$/) as string, retryable: true },
    ],
    [
      'refuses the token',
      refuse('invalid_auth'),
      {
        message: 'Slack refused the message: invalid_auth.',
        retryable: false,
        slackError: 'invalid_auth',
        hint: 'Give the worker a valid bot token.',
      },
    ],
    ['does not know the channel', refuse('channel_not_found'), { retryable: false, slackError: 'channel_not_found' }],
    [
      'refuses for a reason of its own',
      refuse('new_reason'),
      { message: 'Slack refused the message: new_reason.', retryable: false, hint: undefined },
    ],
    ['has a passing fault', refuse('internal_error'), { retryable: true, slackError: 'internal_error' }],
    [
      'does not say where',
      (r) => void r.end(JSON.stringify({ ok: true })),
      { message: 'Slack answered without saying where the message is.', retryable: false },
    ],
  ])('%s', async (_name, answer, expected) => {
    slack.faults.push({ method: 'chat.postMessage', answer });

    const failure = await failureOf(notifierOf().notify(inputOf()));

    expect({ ...failure, message: failure.message }).toMatchObject(expected);
    expect(slack.calls).toHaveLength(1);
    expect(JSON.stringify({ ...failure, stack: failure.stack })).not.toContain('xoxb');
  });

  it('hangs', async () => {
    slack.faults.push({ method: 'chat.postMessage', answer: () => undefined });

    const failure = await failureOf(notifierOf(100).notify(inputOf()));

    expect(failure).toMatchObject({ message: 'Slack timed out after 0.1 s.', retryable: true });
  });

  it('hangs in the middle of its answer', async () => {
    slack.faults.push({ method: 'chat.postMessage', answer: (response) => void response.write('{"ok":') });

    const failure = await failureOf(notifierOf(100).notify(inputOf()));

    expect(failure).toMatchObject({ message: 'Slack timed out after 0.1 s.', retryable: true });
  });

  it('is not there', async () => {
    await slack.close();

    const failure = await failureOf(notifierOf().notify(inputOf()));

    expect(failure).toMatchObject({ message: 'Slack cannot be reached (ECONNREFUSED).', retryable: true });
  });
});
