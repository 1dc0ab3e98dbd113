import type { WebClientOptions } from '@slack/web-api';
import { SlackFailure } from './slack-failure';

type Fetch = NonNullable<WebClientOptions['fetch']>;

/**
 * `fetch` for Slack's client that reads the whole answer within the client's time limit, and says in one sentence why
 * there is none: the client itself passes on bare errors of the runtime, and stops watching once it has the headers.
 */
export function createSlackFetch(timeoutMs: number): Fetch {
  return async (url, init) => {
    try {
      const response = await fetch(url, init);
      const text = await response.text();
      return {
        ok: response.ok,
        status: response.status,
        statusText: response.statusText,
        url: response.url,
        headers: response.headers,
        text: () => Promise.resolve(text),
        json: () => Promise.resolve(JSON.parse(text) as unknown),
        arrayBuffer: () => Promise.resolve(Uint8Array.from(Buffer.from(text)).buffer),
      };
    } catch (error) {
      const message = isTimeout(error)
        ? `Slack timed out after ${timeoutMs / 1000} s.`
        : `Slack cannot be reached${codeOf(error)}.`;
      throw new SlackFailure(message, { retryable: true });
    }
  };
}

function isTimeout(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'TimeoutError';
}

/** ` (ECONNREFUSED)` when the system gave a code, somewhere down the causes. */
function codeOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return '';
  if ('code' in error && typeof error.code === 'string' && /^[A-Z][A-Z0-9_]+$/.test(error.code))
    return ` (${error.code})`;
  return 'cause' in error ? codeOf(error.cause) : '';
}
