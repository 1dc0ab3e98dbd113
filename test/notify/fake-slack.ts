import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A message as Slack keeps it. */
export interface FakeMessage {
  readonly channel: string;
  readonly ts: string;
  readonly threadTs: string | null;
  text: string;
  blocks: unknown;
  metadata: unknown;
  readonly broadcast: boolean;
  edits: number;
}

export interface FakeCall {
  readonly method: string;
  readonly form: Readonly<Record<string, string>>;
  readonly authorization: string | undefined;
}

/** Answers one call instead of the fake; `after`: once it was carried out, so that only the answer is lost. */
export type Fault = {
  readonly method: string;
  readonly after?: boolean;
  readonly answer: (response: ServerResponse) => void;
};

export interface FakeSlack {
  readonly url: string;
  readonly messages: FakeMessage[];
  readonly calls: FakeCall[];
  /** The next matching calls are answered by these, one each. */
  readonly faults: Fault[];
  /** Methods for which the app lacks a scope. */
  readonly forbidden: Set<string>;
  close(): Promise<void>;
}

/** Ids of the channels there are, by name. */
const CHANNELS: Readonly<Record<string, string>> = { '#deploys': 'C0DEPLOYS1', C0DEPLOYS1: 'C0DEPLOYS1' };

/** The part of Slack's Web API that the notifier uses, on loopback. */
export async function startFakeSlack(): Promise<FakeSlack> {
  const messages: FakeMessage[] = [];
  const calls: FakeCall[] = [];
  const faults: Fault[] = [];
  const forbidden = new Set<string>();
  let clock = 1_700_000_000;

  function carryOut(method: string, form: Readonly<Record<string, string>>): Record<string, unknown> {
    if (forbidden.has(method)) return { ok: false, error: 'missing_scope', needed: 'x' };
    const channel = CHANNELS[form['channel'] ?? ''];
    if (channel === undefined) return { ok: false, error: 'channel_not_found' };
    const parse = (field: string): unknown => JSON.parse(form[field] ?? 'null');
    switch (method) {
      case 'chat.postMessage': {
        clock += 1;
        const ts = `${clock}.000100`;
        messages.push({
          channel,
          ts,
          threadTs: form['thread_ts'] ?? null,
          text: form['text'] ?? '',
          blocks: parse('blocks'),
          metadata: parse('metadata'),
          broadcast: form['reply_broadcast'] === 'true',
          edits: 0,
        });
        return { ok: true, channel, ts };
      }
      case 'chat.update': {
        if (!/^C/.test(form['channel'] ?? '')) return { ok: false, error: 'channel_not_found' };
        const message = messages.find((each) => each.ts === form['ts']);
        if (message === undefined) return { ok: false, error: 'message_not_found' };
        Object.assign(message, { text: form['text'], blocks: parse('blocks'), metadata: parse('metadata') });
        message.edits += 1;
        return { ok: true, channel, ts: message.ts };
      }
      case 'conversations.history':
      case 'conversations.replies': {
        if (!/^C/.test(form['channel'] ?? '')) return { ok: false, error: 'channel_not_found' };
        const thread = method === 'conversations.replies' ? form['ts'] : null;
        const found = messages.filter(
          (each) => each.threadTs === thread || each.ts === thread || (thread === null && each.broadcast),
        );
        const visible = found.filter((each) => Number(each.ts) > Number(form['oldest'] ?? 0));
        return {
          ok: true,
          messages: visible.map(({ ts, text, metadata }) => ({
            ts,
            text,
            ...(form['include_all_metadata'] === 'true' ? { metadata } : {}),
          })),
        };
      }
      default:
        return { ok: false, error: 'unknown_method' };
    }
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const method = (request.url ?? '').replace(/^\/api\//, '');
      const form = Object.fromEntries(new URLSearchParams(Buffer.concat(chunks).toString('utf8')));
      calls.push({ method, form, authorization: request.headers.authorization });
      const index = faults.findIndex((fault) => fault.method === method);
      const [fault] = index === -1 ? [] : faults.splice(index, 1);
      if (fault !== undefined && fault.after !== true) {
        fault.answer(response);
        return;
      }
      const answer = carryOut(method, form);
      if (fault !== undefined) fault.answer(response);
      else response.writeHead(200, { 'Content-Type': 'application/json' }).end(JSON.stringify(answer));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/`,
    messages,
    calls,
    faults,
    forbidden,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
