import { WebAPIHTTPError, WebAPIPlatformError, WebAPIRateLimitedError, WebAPIRequestError } from '@slack/web-api';
import { messageOf } from '../errors';
import { slackText } from './slack-text';

/**
 * Slack did not take a message. `retryable` is for the activity's retry policy: the notifier itself never tries again.
 * The message is one sentence without any secret.
 */
export class SlackFailure extends Error {
  readonly retryable: boolean;
  /** Slack's own error code, for example `channel_not_found`. */
  readonly slackError: string | undefined;
  /** How long Slack asks to be left alone, milliseconds; only when it limits. */
  readonly retryAfterMs: number | undefined;
  readonly hint: string | undefined;

  constructor(
    message: string,
    options: { retryable: boolean; slackError?: string; retryAfterMs?: number; hint?: string | undefined },
  ) {
    super(message);
    this.name = 'SlackFailure';
    this.retryable = options.retryable;
    this.slackError = options.slackError;
    this.retryAfterMs = options.retryAfterMs;
    this.hint = options.hint;
  }
}

/** Faults on Slack's side that pass; every other error code is about the app, the channel or the message. */
const PASSING = new Set([
  'internal_error',
  'fatal_error',
  'service_unavailable',
  'request_timeout',
  'ratelimited',
  'rate_limited',
  'message_limit_exceeded',
  'team_added_to_org',
]);

const HINTS: Readonly<Record<string, string>> = {
  invalid_auth: 'Give the worker a valid bot token.',
  not_authed: 'Give the worker a bot token.',
  account_inactive: 'Give the worker a token of an active app.',
  token_revoked: 'Give the worker a new bot token.',
  token_expired: 'Give the worker a new bot token.',
  missing_scope: 'Give the app the scope chat:write.',
  channel_not_found: 'Check the channel in spec.notify.slack, and invite the app to it when it is private.',
  not_in_channel: 'Invite the app to the channel.',
  is_archived: 'Name a channel that is not archived.',
};

/** What any error of Slack's client means; never holds an answer's body. */
export function slackFailureOf(error: unknown): SlackFailure {
  if (error instanceof SlackFailure) return error;
  if (error instanceof WebAPIRequestError) return slackFailureOf(error.original);
  if (error instanceof WebAPIRateLimitedError) {
    return new SlackFailure(`Slack limits the rate, and asks to wait ${error.retryAfter} s.`, {
      retryable: true,
      slackError: 'ratelimited',
      retryAfterMs: error.retryAfter * 1000,
    });
  }
  if (error instanceof WebAPIPlatformError) return platformFailure(error.data.error);
  if (error instanceof WebAPIHTTPError) {
    const retryable = error.statusCode >= 500 || error.statusCode === 408;
    return new SlackFailure(`Slack answered ${error.statusCode}.`, { retryable });
  }
  // The client's words for 429 without a time; it has no type of its own.
  if (/Retry header did not contain/.test(messageOf(error))) {
    return new SlackFailure('Slack limits the rate.', { retryable: true, slackError: 'ratelimited' });
  }
  return new SlackFailure(`Slack could not be told: ${slackText(messageOf(error), 200)}`, { retryable: true });
}

function platformFailure(code: unknown): SlackFailure {
  // Where an answer is not JSON, the client hands out its whole body in place of a code.
  if (typeof code !== 'string' || !/^[a-z0-9_]{1,64}$/.test(code)) {
    return new SlackFailure('Slack answered something that is not JSON.', { retryable: true });
  }
  return new SlackFailure(`Slack refused the message: ${code}.`, {
    retryable: PASSING.has(code),
    slackError: code,
    hint: HINTS[code],
  });
}
