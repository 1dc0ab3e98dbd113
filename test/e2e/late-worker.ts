import { BUILT, startWorkerProcess } from '../integration/worker-process';
import type { WorkerProcess } from '../integration/worker-process';
import type { Lab } from '../lab/lab';
import { ApiProxy } from './api-proxy';
import type { Fate, SeenRequest } from './api-proxy';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { TemporalLine } from './temporal-line';

interface Side {
  readonly line: TemporalLine;
  readonly proxy: ApiProxy;
  worker: WorkerProcess | null;
}

/** How the client calls it that no answer comes for 20 s: an attempt that is held for longer has given up already. */
export const GAVE_UP = /did not answer within/;

/**
 * Two workers, processes of their own. The one that has the first weight after the smoke test in hand is cut off from
 * Temporal while a read of it is held, so that nobody can tell it that its attempt is cancelled, or another one's by now:
 * it lives, and goes on when its read is answered. Meanwhile everything is the other one's.
 */
export class LateWorker {
  readonly stack: ReleaseStack;
  readonly #isTheRead: (request: SeenRequest) => boolean;
  readonly #sides: Side[] = [];
  #released: Promise<void> = Promise.resolve();
  #release: () => void = () => undefined;
  #isTested = false;
  #late: Side | null = null;
  #heldSince = 0;
  #heldUntil = 0;

  private constructor(stack: ReleaseStack, isTheRead: (request: SeenRequest) => boolean) {
    this.stack = stack;
    this.#isTheRead = isTheRead;
    this.#arm();
  }

  static async start(lab: Lab, isTheRead: (request: SeenRequest) => boolean): Promise<LateWorker> {
    const late = new LateWorker(await startReleaseStack(lab, { worker: false }), isTheRead);
    try {
      for (const _ of ['one', 'other']) await late.#addWorker(lab);
    } catch (error) {
      await late.stop();
      throw error;
    }
    return late;
  }

  get isHeld(): boolean {
    return this.#late !== null;
  }

  /** Its reads are answered. */
  goOn(): void {
    this.#heldUntil = this.#late?.proxy.requests.length ?? 0;
    process.stderr.write(`e2e: a read was held for ${Math.round((Date.now() - this.#heldSince) / 1_000)} s\n`);
    this.#release();
  }

  /** Why the attempt has failed, by the worker's own log; null as long as it has not. */
  failure(): string | null {
    const lines = (this.#late?.worker?.log() ?? '')
      .split('\n')
      .filter((line) => line.includes('"activityType":"setWeight"'));
    const told = lines.map((line) => JSON.parse(line) as { time: number; error?: { message?: string } });
    const since = told.filter(({ time }) => time >= this.#heldSince);
    return since.flatMap(({ error }) => error?.message ?? [])[0] ?? null;
  }

  /** What it has written since its read was answered, with what became of it. */
  lateWrites(): string[] {
    const since = this.#late?.proxy.requests.slice(this.#heldUntil) ?? [];
    return since.flatMap(({ method, path, status }) => (method === 'GET' ? [] : [`${method} ${path} ${status}`]));
  }

  /** Temporal hears of it again, and the next release finds both of them. */
  reconnect(): void {
    this.#late?.line.mend();
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#release();
    await Promise.all(this.#sides.map(({ worker }) => worker?.end('SIGKILL')));
    for (const { line, proxy } of this.#sides) {
      await line.stop();
      await proxy.stop();
    }
    await this.stack.stop();
  }

  #arm(): void {
    this.#isTested = false;
    this.#late = null;
    this.#released = new Promise((resolve) => (this.#release = resolve));
  }

  async #addWorker(lab: Lab): Promise<void> {
    const line = await TemporalLine.start(this.stack.address);
    const proxy = await ApiProxy.start(lab.kubeconfig);
    const side: Side = { line, proxy, worker: null };
    this.#sides.push(side);
    proxy.before = (request) => this.#hold(side, request);
    proxy.after = ({ path, status }) => {
      if (status === 200 && /\/services\/[^/]+\/proxy\//.test(path)) this.#isTested = true;
    };
    const env = { TEMPORAL_ADDRESS: line.address, KUBECONFIG: proxy.kubeconfig };
    side.worker = await startWorkerProcess(this.stack.client, env, BUILT);
  }

  async #hold(side: Side, request: SeenRequest): Promise<Fate> {
    // After it nothing asks the API server before the weight does.
    if (!this.#isTested || !this.#isTheRead(request)) return 'pass';
    if (this.#late === null) {
      this.#late = side;
      this.#heldSince = Date.now();
      side.line.cut();
    }
    if (this.#late === side) await this.#released;
    return 'pass';
  }
}
