/** As much of the browser's EventSource as an SDK uses, over fetch. */
export class TestEventSource extends EventTarget {
  static readonly CONNECTING = 0;
  static readonly OPEN = 1;
  static readonly CLOSED = 2;
  readonly url: string;
  readyState = 0;
  readonly #abort = new AbortController();

  constructor(url: string) {
    super();
    this.url = url;
    void this.#read();
  }

  close(): void {
    this.readyState = 2;
    this.#abort.abort();
  }

  async #read(): Promise<void> {
    try {
      const response = await fetch(this.url, { signal: this.#abort.signal, headers: { accept: 'text/event-stream' } });
      if (!response.ok || response.body === null) throw new Error(`answered ${response.status}`);
      this.readyState = 1;
      this.dispatchEvent(new Event('open'));
      let text = '';
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        for (const block of blocks) this.#dispatch(block);
      }
      throw new Error('ended');
    } catch {
      // Refused or ended: what an SDK is told of it is that it is closed.
      this.readyState = 2;
      this.dispatchEvent(new Event('error'));
    }
  }

  #dispatch(block: string): void {
    const fields = new Map(
      block.split('\n').map((line): [string, string] => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon), line.slice(colon + 1).trim()];
      }),
    );
    const data = fields.get('data');
    if (data === undefined) return;
    this.dispatchEvent(new MessageEvent('message', { data, lastEventId: fields.get('id') ?? '' }));
  }
}
