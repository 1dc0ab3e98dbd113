import { hash, randomUUID } from 'node:crypto';
import { ClientOfflineError, createClient, ErrorReply } from '@redis/client';
import { z } from 'zod';
import { messageOf } from '../errors';
import { FlagDefaults } from './defaults';
import type { DeltaIdentity } from './delta';
import { FlagDocument } from './flag';
import type { StoredFlag } from './flag';
import { Listeners } from './listeners';
import type { FlagLogger } from './logger';
import { addSides, NO_SIDES, OUTCOME_WINDOW_MS, packCounts, SIDES, unpackCounts } from './outcomes';
import type { FlagOutcomes, OutcomeDelta, SideCounts } from './outcomes';
import { OUTCOMES_SCRIPT, REMEMBER_SCRIPT, USAGE_SCRIPT, WRITE_SCRIPT } from './redis-scripts';
import { StoredAudit } from './stored-audit';
import { ForeignCursor, isPastTelling, StoreUnavailable, usageDay, usageDays } from './store';
import type {
  AuditEntry,
  FlagStore,
  FlagUnchanged,
  FlagUsage,
  FlagWrite,
  FlagWritten,
  Idempotency,
  OutcomeQuery,
  OutcomesAdded,
  Page,
  Remembered,
  StoreChanges,
  StoreHead,
  UsageDelta,
} from './store';

/** A flag's name has no `:`, so none of the store's own keys with one more can be a flag's. */
const KEYS = {
  all: 'feature_flag:all',
  head: 'feature_flag:meta:head',
  deletions: 'feature_flag:meta:deletions',
  audit: 'feature_flag:meta:audit',
  channel: 'feature_flag:meta:changes',
  flag: (name: string) => `feature_flag:${name}`,
  auditOf: (name: string) => `feature_flag:meta:audit:${name}`,
  idempotency: (key: string) => `feature_flag:meta:idempotency:${key}`,
  delta: (source: string) => `feature_flag:meta:delta:${source}`,
  usage: (name: string) => `feature_flag:usage:${name}`,
  outcomes: (name: string) => `feature_flag:outcomes:${name}`,
  recentOutcomes: (name: string) => `feature_flag:outcomes:${name}:recent`,
  users: (name: string, day: string) => `feature_flag:usage:${name}:users:${day}`,
} as const;

export interface RedisFlagStoreOptions {
  /** `redis://[user:password@]host:port/database`, or `rediss://` with TLS. */
  readonly url: string;
  readonly logger: FlagLogger;
  readonly now?: () => number;
}

const WriteReply = z.union([
  z.tuple([z.literal('written'), z.coerce.number()]),
  z.tuple([z.literal('conflict')]),
  z.tuple([z.literal('repeated'), z.string()]),
]);

const AddedReply = z.union([
  z.tuple([z.literal('added')]),
  z.tuple([z.literal('unknown')]),
  z.tuple([z.literal('repeated'), z.string()]),
]);

const Packed = z.array(z.int());
const Recent = z.object({ enabled: Packed, disabled: Packed });

const Record = z.object({ fingerprint: z.string(), status: z.int() });

type Client = ReturnType<typeof createRedisClient>;

/**
 * Flags in Redis 7, for any number of processes. Answers at once whether Redis is there or not: it connects by itself,
 * as often as it takes, and until then every call throws {@link StoreUnavailable}.
 */
export function openRedisFlagStore(options: RedisFlagStoreOptions): FlagStore {
  return new RedisFlagStore(options);
}

function createRedisClient(url: string) {
  return createClient({
    url,
    // Nothing waits in a queue for a Redis that is away: whoever asks has something else to go on with.
    disableOfflineQueue: true,
    // What is lost without a word, at a proxy or a firewall, is heard of by an answer that does not come, and in no other
    // way. The next ping waits for that of the last one, so a connection without answers falls silent, and is given up.
    pingInterval: FlagDefaults.redisPingMs,
    socket: {
      socketTimeout: FlagDefaults.redisSilenceMs,
      connectTimeout: FlagDefaults.redisTimeoutMs,
      reconnectStrategy: () => (FlagDefaults.redisRetryMaxMs * (1 + 2 * Math.random())) / 3,
    },
  });
}

class RedisFlagStore implements FlagStore {
  readonly kind = 'redis';
  readonly #url: string;
  #client: Client;
  readonly #subscriber: Client;
  #subscribed = false;
  /** When the asking client last had an answer, on the clock that only goes forward. */
  #heardMs = -Infinity;
  readonly #logger: FlagLogger;
  readonly #now: () => number;
  readonly #listeners = new Listeners();
  #away = false;

  constructor({ url, logger, now = Date.now }: RedisFlagStoreOptions) {
    this.#logger = logger;
    this.#now = now;
    this.#url = url;
    this.#client = this.#openClient();
    this.#subscriber = createRedisClient(url);
    // Its troubles are those of the other connection, which tells them.
    this.#subscriber.on('error', () => undefined);
    this.#subscriber.on('ready', () => void this.#follow());
    // It tries for ever: it fails only where it is closed meanwhile.
    this.#subscriber.connect().catch(() => undefined);
  }

  async head(): Promise<StoreHead> {
    const [incarnation, revision] = await this.#ask((client) => client.hmGet(KEYS.head, ['incarnation', 'revision']));
    return { incarnation: incarnation ?? '', revision: Number(revision ?? 0) };
  }

  async changes(since: StoreHead | null, tell: (flag: StoredFlag) => void): Promise<StoreChanges> {
    const from = since?.revision ?? 0;
    // One moment: the head, and what was written and deleted up to it.
    const [headReply, names, deleted] = await this.#ask((client) =>
      client
        .multi()
        .hmGet(KEYS.head, ['incarnation', 'revision', 'forgotten'])
        .zRange(KEYS.all, `(${from}`, '+inf', { BY: 'SCORE' })
        .zRange(KEYS.deletions, `(${from}`, '+inf', { BY: 'SCORE' })
        .execTyped(),
    );
    const [incarnation, revision, forgotten] = headReply;
    const head = { incarnation: incarnation ?? '', revision: Number(revision ?? 0) };
    const complete = isPastTelling(since, { ...head, forgotten: Number(forgotten ?? 0) });
    const wanted = complete && from > 0 ? await this.#ask((client) => client.zRange(KEYS.all, 0, -1)) : names;
    for (let at = 0; at < wanted.length; at += FlagDefaults.loadChunk) {
      const chunk = await this.#fetch(wanted.slice(at, at + FlagDefaults.loadChunk));
      for (const flag of chunk) tell(flag);
    }
    return { head, complete, deleted: complete ? [] : deleted };
  }

  subscribe(listener: () => void): () => void {
    return this.#listeners.add(listener);
  }

  async get(name: string): Promise<StoredFlag | null> {
    return (await this.#fetch([name]))[0] ?? null;
  }

  async list({ after, limit }: { after: string | null; limit: number }): Promise<Page<StoredFlag>> {
    const all = await this.#ask((client) => client.zRange(KEYS.all, 0, -1));
    const names = all.sort().filter((name) => after === null || name > after);
    const page = names.slice(0, limit);
    return { items: await this.#fetch(page), next: names.length > limit ? (page.at(-1) ?? null) : null };
  }

  async write({ name, expected, next, audit, idempotency }: FlagWrite): Promise<FlagWritten> {
    const record = recordOf(idempotency);
    const keptDays = usageDays(this.#now(), FlagDefaults.usageKeptDays + 1);
    const reply = await this.#change(idempotency, (client) =>
      runScript(client, WRITE_SCRIPT, {
        keys: [
          KEYS.flag(name),
          KEYS.all,
          KEYS.deletions,
          KEYS.head,
          KEYS.audit,
          KEYS.auditOf(name),
          KEYS.idempotency(idempotency?.key ?? ''),
          KEYS.usage(name),
          KEYS.outcomes(name),
          KEYS.recentOutcomes(name),
          ...keptDays.map((day) => KEYS.users(name, day)),
        ],
        arguments: [
          String(expected ?? 0),
          name,
          next === null ? '' : JSON.stringify(next),
          JSON.stringify(audit),
          record,
          String(FlagDefaults.idempotencySeconds),
          randomUUID(),
          String(FlagDefaults.deletionsKept),
          String(FlagDefaults.auditKept),
          KEYS.channel,
        ],
      }),
    );
    return writtenOf(reply);
  }

  async remember({ name, expected, idempotency }: FlagUnchanged): Promise<FlagWritten> {
    const reply = await this.#change(idempotency, (client) =>
      runScript(client, REMEMBER_SCRIPT, {
        keys: [KEYS.flag(name), KEYS.idempotency(idempotency.key)],
        arguments: [String(expected), recordOf(idempotency), String(FlagDefaults.idempotencySeconds)],
      }),
    );
    return writtenOf(reply);
  }

  async recall(key: string): Promise<Remembered | null> {
    const known = await this.#ask((client) => client.get(KEYS.idempotency(key)));
    return known === null ? null : remembered(known);
  }

  async audit({
    flag,
    before,
    limit,
  }: {
    flag: string | null;
    before: string | null;
    limit: number;
  }): Promise<Page<AuditEntry>> {
    const stream = flag === null ? KEYS.audit : KEYS.auditOf(flag);
    const start = before === null ? '+' : `(${checkedStreamId(before)}`;
    const found = (await this.#ask((client) => client.xRevRange(stream, start, '-', { COUNT: limit + 1 }))) ?? [];
    const items = found.slice(0, limit).map(({ id, message }) => ({
      ...StoredAudit.parse(JSON.parse(message['entry'] ?? 'null')),
      id,
      revision: Number(message['revision']),
    }));
    return { items, next: found.length > limit ? (items.at(-1)?.id ?? null) : null };
  }

  async addUsage(deltas: readonly UsageDelta[]): Promise<void> {
    const oldest = usageDay(this.#now() - FlagDefaults.usageKeptDays * 86_400_000);
    const seconds = String(FlagDefaults.usageKeptDays * 86_400);
    for (const { flag, createdAt, day, enabled, disabled, users, lastAt, identity } of deltas) {
      await this.#ask((client) =>
        runScript(client, USAGE_SCRIPT, {
          keys: [KEYS.flag(flag), KEYS.usage(flag), KEYS.users(flag, day), KEYS.delta(identity?.source ?? '')],
          arguments: [
            day,
            String(enabled),
            String(disabled),
            lastAt,
            seconds,
            oldest,
            numberOf(identity),
            String(FlagDefaults.idempotencySeconds),
            creationOf(createdAt),
            ...users,
          ],
        }),
      );
    }
  }

  async usage(flag: string, days: readonly string[]): Promise<FlagUsage> {
    const [counts, unique, ...byDay] = await this.#ask((client) =>
      Promise.all([
        client.hGetAll(KEYS.usage(flag)),
        client.pfCount(days.map((day) => KEYS.users(flag, day))),
        ...days.map((day) => client.pfCount(KEYS.users(flag, day))),
      ]),
    );
    return {
      days: days.map((day, index) => ({
        day,
        enabled: Number(counts[`${day}:enabled`] ?? 0),
        disabled: Number(counts[`${day}:disabled`] ?? 0),
        unique_users: byDay[index] ?? 0,
      })),
      unique_users: unique,
      last_evaluated_at: counts['last_at'] ?? null,
    };
  }

  async addOutcomes(
    { flag, createdAt, environment, identity, ...sides }: OutcomeDelta,
    idempotency: Idempotency | null,
  ): Promise<OutcomesAdded> {
    const increments = SIDES.flatMap((side) =>
      packCounts(sides[side]).flatMap((count, at) => (count === 0 ? [] : [`${side}:${at}`, String(count)])),
    );
    const recent = { enabled: packCounts(sides.enabled), disabled: packCounts(sides.disabled) };
    const reply = await this.#change(idempotency, (client) =>
      runScript(client, OUTCOMES_SCRIPT, {
        keys: [
          KEYS.flag(flag),
          KEYS.outcomes(flag),
          KEYS.recentOutcomes(flag),
          KEYS.idempotency(idempotency?.key ?? ''),
          KEYS.delta(identity?.source ?? ''),
        ],
        arguments: [
          environment,
          randomUUID(),
          new Date(this.#now()).toISOString(),
          String(FlagDefaults.outcomesKeptDays * 86_400),
          String(OUTCOME_WINDOW_MS),
          JSON.stringify(recent),
          recordOf(idempotency),
          String(FlagDefaults.idempotencySeconds),
          numberOf(identity),
          creationOf(createdAt),
          ...increments,
        ],
      }),
    );
    const parsed = AddedReply.parse(reply);
    switch (parsed[0]) {
      case 'added':
      case 'unknown':
        return { kind: parsed[0] };
      case 'repeated':
        return { kind: 'repeated', remembered: remembered(parsed[1]) };
      default:
        return parsed satisfies never;
    }
  }

  async outcomes({ flag, environment, windowMs }: OutcomeQuery): Promise<FlagOutcomes | null> {
    // Entries are named by Redis' own clock.
    const [seconds, micros] = await this.#ask((client) => client.sendCommand<string[]>(['TIME']));
    const start = Number(seconds) * 1000 + Math.floor(Number(micros) / 1000) - windowMs;
    const [held, entries] = await this.#ask((client) =>
      client
        .multi()
        .hGetAll(KEYS.outcomes(flag))
        .xRange(KEYS.recentOutcomes(flag), String(Math.max(0, start)), '+')
        .execTyped(),
    );
    const { [`${environment}:counters`]: counters, [`${environment}:since`]: since } = held;
    if (counters === undefined || since === undefined) return null;
    const countsOf = (side: string) =>
      unpackCounts(packCounts(NO_SIDES.enabled).map((_, at) => Number(held[`${environment}:${side}:${at}`] ?? 0)));
    const recent = (entries ?? []).flatMap(({ message }): SideCounts[] => {
      if (message['environment'] !== environment) return [];
      const { enabled, disabled } = Recent.parse(JSON.parse(message['counts'] ?? 'null'));
      return [{ enabled: unpackCounts(enabled), disabled: unpackCounts(disabled) }];
    });
    return {
      counters,
      since,
      enabled: countsOf('enabled'),
      disabled: countsOf('disabled'),
      recent: recent.reduce(addSides, NO_SIDES),
    };
  }

  close(): Promise<void> {
    // `close` would wait for replies that a Redis that is away does not send.
    for (const client of [this.#client, this.#subscriber]) if (client.isOpen) client.destroy();
    return Promise.resolve();
  }

  #openClient(): Client {
    const client = createRedisClient(this.#url);
    const noteAway = (error: unknown): void => {
      // One that was given up or closed ends with errors, too.
      if (client.isOpen) this.#noteAway(error);
    };
    client.on('error', noteAway);
    client.on('ready', () => this.#noteReturn());
    // It tries for ever, so this is a client that was closed while it tried, or a password that is wrong.
    client.connect().catch(noteAway);
    return client;
  }

  /**
   * A connection on which nothing is answered may be dead, while a new one works; and whoever asks goes on writing into it,
   * which a socket's timeout takes for life.
   */
  #giveUp(client: Client): void {
    if (client !== this.#client || !client.isOpen) return;
    this.#noteAway(new Error(`nothing was answered within ${FlagDefaults.redisTimeoutMs} ms`));
    client.destroy();
    this.#client = this.#openClient();
  }

  async #follow(): Promise<void> {
    // What was published meanwhile is lost: whoever follows has to look.
    this.#listeners.tell();
    // The client renews by itself what it once was told to follow.
    if (this.#subscribed) return;
    try {
      await this.#subscriber.subscribe(KEYS.channel, () => this.#listeners.tell());
      this.#subscribed = true;
    } catch {
      // The connection was lost meanwhile: with the next one it is tried again.
    }
  }

  async #fetch(names: readonly string[]): Promise<StoredFlag[]> {
    const rows = await this.#ask((client) =>
      Promise.all(names.map((name) => client.hmGet(KEYS.flag(name), ['revision', 'document']))),
    );
    return rows.flatMap(([revision, document], index) => {
      // Deleted since its name was read.
      if (typeof revision !== 'string' || typeof document !== 'string') return [];
      const flag = this.#parse(document, names[index] ?? '');
      return flag === null ? [] : [{ flag, revision: Number(revision) }];
    });
  }

  /** What another hand wrote into Redis is not trusted; one flag that makes no sense does not take the others along. */
  #parse(document: string, name: string): FlagDocument | null {
    try {
      return FlagDocument.parse(JSON.parse(document));
    } catch (error) {
      this.#logger.error('a flag in Redis is not what this service writes, and is left out', {
        flag: name,
        error: messageOf(error).slice(0, 300),
      });
      return null;
    }
  }

  /** Asks for a change, of which nobody knows whether it was made when there is no answer. */
  async #change<T>(idempotency: Idempotency | null, question: (client: Client) => Promise<T>): Promise<T> {
    try {
      return await this.#ask(question);
    } catch (error) {
      if (!(error instanceof StoreUnavailable) || !error.unanswered) throw error;
      const advice =
        idempotency === null
          ? 'look whether it was before you repeat it, or send each with an Idempotency-Key'
          : 'repeat it with the same Idempotency-Key, and it is made once';
      throw new StoreUnavailable(`${error.message} The change may have been made all the same: ${advice}.`, {
        cause: error,
        unanswered: true,
      });
    }
  }

  async #ask<T>(question: (client: Client) => Promise<T>): Promise<T> {
    const client = this.#client;
    const askedMs = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const message = `Redis did not answer within ${FlagDefaults.redisTimeoutMs} ms.`;
        reject(new StoreUnavailable(message, { unanswered: true }));
        // One slow answer among others is no dead connection.
        if (this.#heardMs < askedMs) this.#giveUp(client);
      }, FlagDefaults.redisTimeoutMs);
    });
    try {
      const answer = await Promise.race([question(client), patience]);
      this.#heardMs = performance.now();
      return answer;
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      // Where there is no connection it was not asked, and where it says what is wrong it has answered.
      const unanswered = !(error instanceof ClientOfflineError || error instanceof ErrorReply);
      throw new StoreUnavailable(`Redis cannot be used: ${messageOf(error)}.`, { cause: error, unanswered });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Said once, however often it is tried. */
  #noteAway(error: unknown): void {
    if (this.#away) return;
    this.#away = true;
    this.#logger.warn('Redis cannot be reached; flags are answered as they were last known', {
      error: messageOf(error),
    });
  }

  #noteReturn(): void {
    if (this.#away) this.#logger.info('Redis can be reached again', {});
    this.#away = false;
    this.#listeners.tell();
  }
}

const SCRIPT_SHA1 = new Map(
  [WRITE_SCRIPT, REMEMBER_SCRIPT, USAGE_SCRIPT, OUTCOMES_SCRIPT].map((script) => [script, hash('sha1', script)]),
);

/** By its name, which is most of what ten thousand small calls would send otherwise; by its text where Redis has not got it. */
async function runScript(
  client: Client,
  script: string,
  options: { readonly keys: string[]; readonly arguments: string[] },
): Promise<unknown> {
  try {
    return await client.evalSha(SCRIPT_SHA1.get(script) ?? hash('sha1', script), options);
  } catch (error) {
    // Then nothing of it was done.
    if (!messageOf(error).startsWith('NOSCRIPT')) throw error;
    return client.eval(script, options);
  }
}

/** What Redis calls an entry of a stream: `milliseconds-count`, 64 bits each, of which no entry has none. */
function checkedStreamId(cursor: string): string {
  const parts = /^(0|[1-9]\d{0,19})-(0|[1-9]\d{0,19})$/.exec(cursor)?.slice(1) ?? [];
  const isId = cursor !== '0-0' && parts.length === 2 && parts.every((part) => BigInt(part) < 2n ** 64n);
  if (!isId) throw new ForeignCursor();
  return cursor;
}

/** What the script is to remember of a request; nothing of one without a key. */
function recordOf(idempotency: Idempotency | null): string {
  if (idempotency === null) return '';
  return JSON.stringify({ fingerprint: idempotency.fingerprint, status: idempotency.status });
}

/** Of a delta, as the scripts take it. */
function numberOf(identity: DeltaIdentity | undefined): string {
  return identity === undefined ? '' : String(identity.number);
}

/**
 * What a flag made then has in its document, and no other of the name; nothing where it may be any. The scripts look for
 * it as it is: a document with long lists, read as JSON for every delta, would hold Redis up.
 */
function creationOf(createdAt: string | undefined): string {
  return createdAt === undefined ? '' : JSON.stringify({ created_at: createdAt }).slice(1, -1);
}

function writtenOf(reply: unknown): FlagWritten {
  const parsed = WriteReply.parse(reply);
  switch (parsed[0]) {
    case 'written':
      return { kind: 'written', revision: parsed[1] };
    case 'conflict':
      return { kind: 'conflict' };
    case 'repeated':
      return { kind: 'repeated', remembered: remembered(parsed[1]) };
    default:
      return parsed satisfies never;
  }
}

/** `revision record`, as the script wrote it. */
function remembered(text: string): Remembered {
  const space = text.indexOf(' ');
  return { ...Record.parse(JSON.parse(text.slice(space + 1))), revision: Number(text.slice(0, space)) };
}
