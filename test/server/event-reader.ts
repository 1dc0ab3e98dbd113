/** One event as it came. */
export interface ReadEvent {
  readonly event: string;
  readonly id: string | null;
  readonly data: Record<string, unknown>;
}

/** A reader of server-sent events over fetch, which keeps what it has read. */
export interface EventReader {
  readonly status: number;
  readonly events: readonly ReadEvent[];
  /** The story's alone, by their numbers. */
  readonly story: () => readonly unknown[];
  readonly lastEventId: () => string;
  /** Resolves when the server ends the stream. */
  readonly ended: Promise<void>;
  close(): void;
}

export async function readEvents(url: string, headers: Readonly<Record<string, string>> = {}): Promise<EventReader> {
  const abort = new AbortController();
  const response = await fetch(url, { signal: abort.signal, headers: { accept: 'text/event-stream', ...headers } });
  const events: ReadEvent[] = [];
  const ended = read(response, events).catch((error: unknown) => {
    if (!abort.signal.aborted) throw error;
  });
  return {
    status: response.status,
    events,
    story: () => events.filter(({ event }) => event === 'message').map(({ data }) => data['seq']),
    lastEventId: () => events.findLast(({ id }) => id !== null)?.id ?? '',
    ended,
    close: () => abort.abort(),
  };
}

async function read(response: Response, events: ReadEvent[]): Promise<void> {
  if (response.body === null) return;
  let text = '';
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = new Map(block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2) as [string, string]));
      const data = fields.get('data');
      if (data === undefined) continue;
      events.push({
        event: fields.get('event') ?? 'message',
        id: fields.get('id') ?? null,
        data: JSON.parse(data) as Record<string, unknown>,
      });
    }
  }
}
