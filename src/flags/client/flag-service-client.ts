import { z } from 'zod';
import { messageOf } from '../../errors';
import {
  AuditPage,
  CheckAnswer,
  Explanation,
  FlagAnswer,
  FlagPage,
  KeyAnswer,
  OutcomesAccepted,
  OutcomesAnswer,
  RulesetAnswer,
  StatsAnswer,
} from '../answers';
import { FlagDefaults } from '../defaults';
import type { CreateFlag, PostOutcomes, SetRollout, UpdateFlag } from '../flag';
import type { StoreHead } from '../store';

export interface FlagServiceClientOptions {
  /** Where the flag service is, such as `http://127.0.0.1:8014`. */
  readonly url: string;
  /** An API key or a JWT; left out for a service on this machine that needs none. */
  readonly apiKey?: string;
  /** For one request and its whole answer, milliseconds; default 10 s. */
  readonly timeoutMs?: number;
}

/** Of a change that others' changes come before. */
const MAX_TRIES = 5;

export interface AskOptions {
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends AskOptions {
  /**
   * The revision that the write was made from; refused (412) when it is another by now. `*`: any, said so, which is
   * enough for a server with `--require-if-match`.
   */
  readonly revision?: number | '*';
  /** The same key with the same request is carried out once, for 24 hours: what makes a retry safe. */
  readonly idempotencyKey?: string;
  /** Shown in the audit. */
  readonly requestId?: string;
}

/** What a flag is created from; what is left out has its default. */
export type NewFlag = z.input<typeof CreateFlag>;
/** What is named is replaced, the rest stays. */
export type FlagUpdate = z.input<typeof UpdateFlag>;
/** A percentage, and the fence of the release that sets it. */
export type Rollout = z.input<typeof SetRollout>;
/** How it went for users of a flag, at most 1,000 of them at once. */
export type NewOutcomes = z.input<typeof PostOutcomes>;

const DEFAULT_TIMEOUT_MS = 10_000;

/** A refusal's document, as far as it is read. */
const Problem = z.object({ code: z.string(), detail: z.string() });

/**
 * The flag service said no, or nothing. `code` is the problem's (`flag-not-found`, `stale-fence`, …), or `unreachable`
 * when there was no answer: whether the write was made is not known then.
 */
export class FlagServiceError extends Error {
  override readonly name = 'FlagServiceError';
  readonly code: string;
  /** Of the answer; null when there was none. */
  readonly status: number | null;

  constructor(code: string, message: string, options: { status: number | null; cause?: unknown }) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.status = options.status;
  }
}

/** The flag service's REST endpoints, typed. */
export class FlagServiceClient {
  readonly #base: string;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #timeoutMs: number;

  constructor({ url, apiKey, timeoutMs = DEFAULT_TIMEOUT_MS }: FlagServiceClientOptions) {
    this.#base = `${url.replace(/\/+$/, '')}/api`;
    this.#headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
    this.#timeoutMs = timeoutMs;
  }

  /** @throws FlagServiceError as every method does. */
  create(flag: NewFlag, options: WriteOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'POST', '/feature-flags', { body: flag, options });
  }

  list(page: { readonly limit?: number; readonly cursor?: string } = {}, options: AskOptions = {}): Promise<FlagPage> {
    const query = new URLSearchParams();
    if (page.limit !== undefined) query.set('limit', String(page.limit));
    if (page.cursor !== undefined) query.set('cursor', page.cursor);
    return this.#ask(FlagPage, 'GET', `/feature-flags?${query.toString()}`, { options });
  }

  get(name: string, options: AskOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'GET', flagPath(name), { options });
  }

  update(name: string, changes: FlagUpdate, options: WriteOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'PUT', flagPath(name), { body: changes, options });
  }

  setRollout(name: string, rollout: Rollout, options: WriteOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'PATCH', flagPath(name, 'rollout'), { body: rollout, options });
  }

  async delete(name: string, options: WriteOptions = {}): Promise<void> {
    await this.#ask(z.undefined(), 'DELETE', flagPath(name), { options });
  }

  check(name: string, question: Question, options: AskOptions = {}): Promise<CheckAnswer> {
    return this.#ask(CheckAnswer, 'POST', flagPath(name, 'check'), { body: bodyOf(question), options });
  }

  explain(name: string, question: Question, options: AskOptions = {}): Promise<Explanation> {
    return this.#ask(Explanation, 'POST', flagPath(name, 'explain'), { body: bodyOf(question), options });
  }

  addUser(name: string, entry: ListEntry, options: WriteOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'POST', flagPath(name, entry.list), { body: { user_id: entry.userId }, options });
  }

  removeUser(name: string, entry: ListEntry, options: WriteOptions = {}): Promise<FlagAnswer> {
    return this.#ask(FlagAnswer, 'DELETE', flagPath(name, entry.list, entry.userId), { options });
  }

  stats(name: string, days = 7, options: AskOptions = {}): Promise<StatsAnswer> {
    return this.#ask(StatsAnswer, 'GET', `${flagPath(name, 'stats')}?days=${days}`, { options });
  }

  /** One request; an `OutcomeReporter` collects outcomes, and repeats what was not answered. */
  postOutcomes(name: string, outcomes: NewOutcomes, options: WriteOptions = {}): Promise<OutcomesAccepted> {
    return this.#ask(OutcomesAccepted, 'POST', flagPath(name, 'outcomes'), { body: outcomes, options });
  }

  outcomes(
    name: string,
    { environment, windowSeconds }: { readonly environment?: string; readonly windowSeconds?: number } = {},
    options: AskOptions = {},
  ): Promise<OutcomesAnswer> {
    const query = new URLSearchParams();
    if (environment !== undefined) query.set('environment', environment);
    if (windowSeconds !== undefined) query.set('window', String(windowSeconds));
    return this.#ask(OutcomesAnswer, 'GET', `${flagPath(name, 'outcomes')}?${query.toString()}`, { options });
  }

  audit(name: string, page: { readonly limit?: number; readonly cursor?: string } = {}): Promise<AuditPage> {
    const query = new URLSearchParams();
    if (page.limit !== undefined) query.set('limit', String(page.limit));
    if (page.cursor !== undefined) query.set('cursor', page.cursor);
    return this.#ask(AuditPage, 'GET', `${flagPath(name, 'audit')}?${query.toString()}`, { options: {} });
  }

  /** What the key of this client may do. */
  key(options: AskOptions = {}): Promise<KeyAnswer> {
    return this.#ask(KeyAnswer, 'GET', '/key', { options });
  }

  /**
   * The flags, a page at a time; with `since`, what has changed of them, or all of them where that is too much. null:
   * nothing has.
   */
  async ruleset(
    page: { readonly since?: StoreHead; readonly cursor?: string } = {},
    options: AskOptions = {},
  ): Promise<RulesetAnswer | null> {
    const query = new URLSearchParams();
    const since = page.since === undefined ? undefined : `${page.since.incarnation}.${page.since.revision}`;
    if (since !== undefined) query.set('since', since);
    if (page.cursor !== undefined) query.set('cursor', page.cursor);
    const asked = { ...options, ...(since === undefined ? {} : { ifNoneMatch: `"${since}"` }) };
    const answer = RulesetAnswer.optional();
    return (await this.#ask(answer, 'GET', `/ruleset?${query.toString()}`, { options: asked })) ?? null;
  }

  /**
   * Listens to the event stream: calls back when it begins and with every change of a flag. Resolves when the service
   * ends it; rejects when it does not begin, breaks, or is silent for too long.
   */
  async listen(onEvent: () => void, { signal }: { readonly signal: AbortSignal }): Promise<void> {
    const silence = new AbortController();
    const alive = setTimeout(
      () => silence.abort(new Error('it was silent for too long')),
      FlagDefaults.streamSilenceMs,
    );
    try {
      const url = `${this.#base.slice(0, -'/api'.length)}/ofrep/v1/sse`;
      const headers = { ...this.#headers, accept: 'text/event-stream' };
      const response = await fetch(url, {
        headers,
        redirect: 'error',
        signal: AbortSignal.any([signal, silence.signal]),
      });
      if (!response.ok || response.body === null) {
        throw new FlagServiceError('unexpected', `${url} answered ${response.status}.`, { status: response.status });
      }
      onEvent();
      let text = '';
      for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
        alive.refresh();
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop() ?? '';
        if (blocks.some((block) => /^data:/m.test(block))) onEvent();
      }
    } finally {
      clearTimeout(alive);
    }
  }

  /**
   * A write that goes by what a flag is now: it is given the flag, whose revision it sends. Where somebody else has written
   * in between (412) the flag is read again, so that what the write does not name stays as they have written it.
   */
  async changeFlag<T>(name: string, options: AskOptions, write: (flag: FlagAnswer) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      const flag = await this.get(name, options);
      try {
        return await write(flag);
      } catch (error) {
        const isOvertaken = error instanceof FlagServiceError && error.code === 'precondition-failed';
        if (!isOvertaken || tries >= MAX_TRIES) throw error;
      }
    }
  }

  async #ask<T>(
    answer: z.ZodType<T>,
    method: string,
    path: string,
    { body, options }: { body?: unknown; options: WriteOptions & { readonly ifNoneMatch?: string } },
  ): Promise<T> {
    const url = `${this.#base}${path}`;
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    const { response, text } = await this.#fetch(url, {
      method,
      headers: {
        ...this.#headers,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(options.revision === undefined ? {} : { 'if-match': ifMatchOf(options.revision) }),
        ...(options.ifNoneMatch === undefined ? {} : { 'if-none-match': options.ifNoneMatch }),
        ...(options.idempotencyKey === undefined ? {} : { 'idempotency-key': options.idempotencyKey }),
        ...(options.requestId === undefined ? {} : { 'x-request-id': options.requestId }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      redirect: 'error',
      signal: options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal]),
    });
    const json = parseJson(text);
    if (!response.ok && response.status !== 304) {
      const problem = Problem.safeParse(json);
      throw problem.success
        ? new FlagServiceError(problem.data.code, problem.data.detail, { status: response.status })
        : new FlagServiceError('unexpected', `${this.#base} answered ${response.status} without saying why.`, {
            status: response.status,
          });
    }
    const parsed = answer.safeParse(json);
    if (parsed.success) return parsed.data;
    throw new FlagServiceError('unexpected', `${this.#base} answered something that is not the flag service's.`, {
      status: response.status,
      cause: parsed.error,
    });
  }

  async #fetch(url: string, init: RequestInit): Promise<{ response: Response; text: string }> {
    try {
      const response = await fetch(url, init);
      return { response, text: await response.text() };
    } catch (error) {
      const cause = error instanceof Error && error.cause !== undefined ? messageOf(error.cause) : messageOf(error);
      throw new FlagServiceError('unreachable', `The flag service at ${this.#base} does not answer: ${cause}.`, {
        status: null,
        cause: error,
      });
    }
  }
}

/** Who is asked about, and where. */
export interface Question {
  readonly userId: string;
  readonly environment?: string;
}

export interface ListEntry {
  readonly list: 'whitelist' | 'blacklist';
  readonly userId: string;
}

function bodyOf({ userId, environment }: Question): Record<string, string> {
  return { user_id: userId, ...(environment === undefined ? {} : { environment }) };
}

function ifMatchOf(revision: number | '*'): string {
  return revision === '*' ? '*' : `"${revision}"`;
}

function flagPath(...parts: readonly string[]): string {
  return `/feature-flags/${parts.map(encodeURIComponent).join('/')}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // an empty body, or no answer of the flag service's: the caller says so
  }
}
