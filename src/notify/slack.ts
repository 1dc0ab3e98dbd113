import { WebClient, type Logger, LogLevel } from '@slack/web-api';
import type { NotifySlackInput } from '../workflows/activity-types';
import type { ReleaseEvent, ReleaseStatus } from '../workflows/api';
import { renderMessage, renderNews } from './render-slack';
import { SlackFailure, slackFailureOf } from './slack-failure';
import { createSlackFetch } from './slack-fetch';

/** Where a message is. */
export interface SlackHandle {
  /** Slack's id of the channel. */
  readonly channel: string;
  readonly ts: string;
}

export interface SlackNotifier {
  /**
   * Posts the release's message, or edits it, and tells the news that matters in its thread.
   *
   * @throws SlackFailure; calling again with the same input is safe (see `createSlackNotifier`).
   */
  notify(input: NotifySlackInput): Promise<SlackHandle>;
}

export interface SlackOptions {
  /** A bot token with the scope chat:write. */
  readonly token: string;
  /** Default: Slack's own. */
  readonly apiUrl?: string;
  /** For one call, milliseconds. Default 5 s: a notification makes up to three calls and a few replies. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5_000;

/** Type of the metadata on every message, by which a message is recognised as already posted. */
const METADATA_TYPE = 'sluice_release';

/** Clocks of worker and Slack may differ by this much when messages are looked for by time. */
const CLOCK_SKEW_S = 600;

/** Handles kept for releases whose first post was not yet reported to the workflow. */
const REMEMBERED = 500;

/**
 * One message per release, edited as it goes.
 *
 * Slack has no idempotency key, so messages carry metadata (the release, and the event's number), and are looked for
 * before they are posted again: the release's message in the channel's history, thread replies in the thread. Reading
 * needs the scope channels:history (groups:history for private channels), and the first message can only be looked for
 * when the channel is known by its id. Without either, a post whose answer was lost is repeated: twice is better than
 * never.
 */
export function createSlackNotifier(options: SlackOptions): SlackNotifier {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const client = new WebClient(options.token, {
    ...(options.apiUrl === undefined ? {} : { slackApiUrl: options.apiUrl }),
    timeout: timeoutMs,
    fetch: createSlackFetch(timeoutMs),
    // The activity's policy decides about trying again, where it is visible; the client's own would last half an hour.
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    allowAbsoluteUrls: false,
    logger: SILENT,
  });
  const posted = new Map<string, SlackHandle>();
  return {
    async notify(input) {
      try {
        const handle = await showStatus(client, input, posted);
        remember(posted, input.status.release, handle);
        await tellNews(client, handle, input);
        return handle;
      } catch (error) {
        throw slackFailureOf(error);
      }
    },
  };
}

async function showStatus(
  client: WebClient,
  input: NotifySlackInput,
  posted: ReadonlyMap<string, SlackHandle>,
): Promise<SlackHandle> {
  const { status } = input;
  const known = input.message ?? posted.get(status.release) ?? (await findMessage(client, input.channel, status));
  if (known !== null && (await edit(client, known, status))) return known;
  const { text, blocks } = renderMessage(status);
  const answer = await client.chat.postMessage({
    channel: input.channel,
    text,
    blocks,
    metadata: metadataOf(status.release),
    unfurl_links: false,
    unfurl_media: false,
  });
  return handleOf(answer);
}

/** False when the message is gone or closed for edits, so that a new one is needed. */
async function edit(client: WebClient, handle: SlackHandle, status: ReleaseStatus): Promise<boolean> {
  const { text, blocks } = renderMessage(status);
  const metadata = metadataOf(status.release);
  try {
    await client.chat.update({ channel: handle.channel, ts: handle.ts, text, blocks, metadata });
    return true;
  } catch (error) {
    const code = slackErrorOf(error);
    if (code === 'message_not_found' || code === 'edit_window_closed' || code === 'cant_update_message') return false;
    throw error;
  }
}

async function tellNews(client: WebClient, handle: SlackHandle, { status, news }: NotifySlackInput): Promise<void> {
  const replies = news.flatMap((event) => {
    const message = renderNews(event, status);
    return message === null ? [] : [{ event, message }];
  });
  const [first] = replies;
  if (first === undefined) return;
  const told = await findTold(client, handle, status.release, first.event);
  for (const { event, message } of replies) {
    if (told.has(event.seq)) continue;
    const reply = {
      channel: handle.channel,
      thread_ts: handle.ts,
      text: message.text,
      blocks: message.blocks,
      metadata: metadataOf(status.release, event.seq),
      unfurl_links: false,
      unfurl_media: false,
    };
    await client.chat.postMessage(message.loud ? { ...reply, reply_broadcast: true } : reply);
  }
}

/** The release's message, when an earlier try posted it and its answer was lost. */
async function findMessage(client: WebClient, channel: string, status: ReleaseStatus): Promise<SlackHandle | null> {
  if (!/^[CGD][A-Z0-9]{7,}$/.test(channel)) return null;
  const found = await readable(
    client.conversations.history({
      channel,
      oldest: slackTime(status.startedAt),
      limit: 100,
      include_all_metadata: true,
    }),
  );
  const message = (found?.messages ?? []).find((each) => {
    const payload = payloadOf(each.metadata);
    return payload?.['release'] === status.release && payload['seq'] === undefined;
  });
  return message?.ts === undefined ? null : { channel, ts: message.ts };
}

/** Numbers of the release's events that its thread already tells, from the first one wanted. */
async function findTold(
  client: WebClient,
  handle: SlackHandle,
  release: string,
  from: ReleaseEvent,
): Promise<ReadonlySet<number>> {
  const found = await readable(
    client.conversations.replies({
      channel: handle.channel,
      ts: handle.ts,
      oldest: slackTime(from.at),
      limit: 200,
      include_all_metadata: true,
    }),
  );
  const told = new Set<number>();
  for (const message of found?.messages ?? []) {
    const payload = payloadOf(message.metadata);
    const seq = payload?.['seq'];
    if (payload?.['release'] === release && typeof seq === 'number') told.add(seq);
  }
  return told;
}

/** null where the app may not read: then nothing can be looked for, which is no reason not to tell. */
async function readable<Answer>(call: Promise<Answer>): Promise<Answer | null> {
  try {
    return await call;
  } catch (error) {
    const failure = slackFailureOf(error);
    if (failure.slackError !== undefined && !failure.retryable) return null;
    throw error;
  }
}

function metadataOf(
  release: string,
  seq?: number,
): { event_type: string; event_payload: Record<string, string | number> } {
  return { event_type: METADATA_TYPE, event_payload: seq === undefined ? { release } : { release, seq } };
}

function payloadOf(metadata: unknown): Readonly<Record<string, unknown>> | null {
  if (typeof metadata !== 'object' || metadata === null) return null;
  if (!('event_type' in metadata) || metadata.event_type !== METADATA_TYPE || !('event_payload' in metadata))
    return null;
  const payload: unknown = metadata.event_payload;
  return typeof payload === 'object' && payload !== null ? { ...payload } : null;
}

function handleOf(answer: { channel?: string; ts?: string }): SlackHandle {
  const { channel, ts } = answer;
  if (channel !== undefined && ts !== undefined) return { channel, ts };
  throw new SlackFailure('Slack answered without saying where the message is.', { retryable: false });
}

function slackErrorOf(error: unknown): string | undefined {
  return slackFailureOf(error).slackError;
}

/** Slack's timestamps are epoch seconds with six decimals. */
function slackTime(epochMs: number): string {
  return Math.max(0, epochMs / 1000 - CLOCK_SKEW_S).toFixed(6);
}

/** For another try by the same worker before the workflow has learned of the message: also without reading rights. */
function remember(posted: Map<string, SlackHandle>, release: string, handle: SlackHandle): void {
  posted.delete(release);
  posted.set(release, handle);
  const [oldest] = posted.keys();
  if (posted.size > REMEMBERED && oldest !== undefined) posted.delete(oldest);
}

/** The client would write to the console; what matters is in the error. */
const SILENT: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  setLevel: () => undefined,
  getLevel: () => LogLevel.ERROR,
  setName: () => undefined,
};
