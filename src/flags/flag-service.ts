import { hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { maySee, requireFlagRole, requireSight } from './access';
import type { Principal, Role } from './access';
import { FlagDefaults } from './defaults';
import { refuseFence, rollOut } from './fence';
import { flagNameProblem, newFlag } from './flag';
import type { CreateFlag, FlagDocument, SetRollout, StoredFlag, UpdateFlag } from './flag';
import { flagChanges } from './flag-changes';
import { FlagProblem } from './problem';
import type { Ruleset } from './ruleset';
import type { AuditAction, FlagStore, Idempotency, Page, Remembered } from './store';

/** A write as it was asked for. */
export interface WriteRequest {
  readonly principal: Principal;
  /** The ETags the flag may have; `*`: any; null: the writer does not care. */
  readonly ifMatch: readonly string[] | '*' | null;
  readonly idempotencyKey: string | null;
  /** What the same Idempotency-Key has to stand for: method, path and body. */
  readonly request: string;
  readonly requestId: string | null;
}

/** How a write went. */
export interface WriteAnswer {
  readonly status: number;
  /** null: the flag is gone. */
  readonly stored: StoredFlag | null;
  /** The very request had been carried out before. */
  readonly replayed: boolean;
}

export interface FlagServiceOptions {
  readonly store: FlagStore;
  readonly ruleset: Ruleset;
  /** Whether a write to a flag that exists has to say which state it was made from. */
  readonly requireIfMatch: boolean;
  readonly now?: () => number;
}

/** One way of changing a flag. */
interface Change {
  readonly action: AuditAction;
  readonly role: Role;
  readonly status: number;
  /** Answers the flag as it is to be; the same object: nothing is to be done; null: it goes. */
  readonly apply: (flag: FlagDocument) => FlagDocument | null;
}

type ListName = 'whitelist' | 'blacklist';

/** What can be done with flags, whoever asks in whatever way: rights, preconditions, fences, and then the store. */
export class FlagService {
  readonly #store: FlagStore;
  readonly #ruleset: Ruleset;
  readonly #requireIfMatch: boolean;
  readonly #now: () => number;

  constructor({ store, ruleset, requireIfMatch, now = Date.now }: FlagServiceOptions) {
    this.#store = store;
    this.#ruleset = ruleset;
    this.#requireIfMatch = requireIfMatch;
    this.#now = now;
  }

  async get(principal: Principal, name: string): Promise<StoredFlag> {
    return this.#visible(principal, name, await this.#store.get(checkedName(name)));
  }

  /** Those that a principal may see; a page is full or the last one, and begins after a flag that was shown. */
  async list(
    principal: Principal,
    { after, limit }: { after: string | null; limit: number },
  ): Promise<Page<StoredFlag>> {
    const seen: StoredFlag[] = [];
    let from = after;
    do {
      // One more than fits, to know that it does not.
      const { items, next } = await this.#store.list({ after: from, limit: limit + 1 });
      seen.push(...items.filter(({ flag }) => maySee(principal, flag)));
      from = next;
    } while (from !== null && seen.length <= limit);
    const items = seen.slice(0, limit);
    return { items, next: seen.length > limit ? (items.at(-1)?.flag.name ?? null) : null };
  }

  async create(request: WriteRequest, given: CreateFlag): Promise<WriteAnswer> {
    const repeated = await this.#recall(request, given.name);
    if (repeated !== null) return repeated;
    const now = this.#isoNow();
    const flag = newFlag(given, now);
    requireFlagRole(request.principal, 'write', flag);
    const written = await this.#store.write({
      name: flag.name,
      expected: null,
      next: flag,
      audit: this.#entry(request, 'created', { flag: flag.name, changes: flagChanges(null, flag), at: now }),
      idempotency: idempotencyOf(request, 201),
    });
    switch (written.kind) {
      case 'written':
        await this.#ruleset.catchUp(written.revision);
        return { status: 201, stored: { flag, revision: written.revision }, replayed: false };
      case 'conflict':
        throw new FlagProblem('flag-exists', `There is a flag ${flag.name} already; change it with PUT.`);
      case 'repeated':
        return this.#replay(request, written.remembered, flag.name);
      default:
        return written satisfies never;
    }
  }

  update(request: WriteRequest, name: string, given: UpdateFlag): Promise<WriteAnswer> {
    if (given.name !== undefined && given.name !== name) {
      throw new FlagProblem('invalid-request', `A flag keeps its name; the body says ${given.name}, the path ${name}.`);
    }
    return this.#change(request, name, {
      action: 'updated',
      role: 'write',
      status: 200,
      apply: (flag) => {
        const { name: _, ...fields } = given;
        const next: FlagDocument = { ...flag, ...withoutUndefined(fields) };
        // What a release raises, and what it is measured by: with other variants its evidence would be of another flag.
        if (next.rollout_percentage !== flag.rollout_percentage || !isDeepStrictEqual(next.variants, flag.variants)) {
          requireFence(flag, undefined);
        }
        return next;
      },
    });
  }

  setRollout(request: WriteRequest, name: string, given: SetRollout): Promise<WriteAnswer> {
    return this.#change(request, name, {
      action: 'rollout',
      role: 'write',
      status: 200,
      apply: (flag) => {
        requireFence(flag, given.fence);
        return rollOut(flag, given);
      },
    });
  }

  addToList(request: WriteRequest, name: string, entry: { list: ListName; userId: string }): Promise<WriteAnswer> {
    const { list, userId } = entry;
    return this.#change(request, name, {
      action: 'listed',
      role: 'write',
      status: 200,
      apply: (flag) => {
        if (flag[list].includes(userId)) return flag;
        if (flag[list].length >= FlagDefaults.maxListedUsers) {
          throw new FlagProblem(
            'list-full',
            `The ${list} of ${name} has ${flag[list].length} users, which is the most; a percentage or an environment reaches more.`,
          );
        }
        return { ...flag, [list]: [...flag[list], userId] };
      },
    });
  }

  removeFromList(request: WriteRequest, name: string, entry: { list: ListName; userId: string }): Promise<WriteAnswer> {
    const { list, userId } = entry;
    return this.#change(request, name, {
      action: 'unlisted',
      role: 'write',
      status: 200,
      apply: (flag) => {
        if (!flag[list].includes(userId)) {
          throw new FlagProblem('user-not-listed', `${JSON.stringify(userId)} is not on the ${list} of ${name}.`);
        }
        return { ...flag, [list]: flag[list].filter((user) => user !== userId) };
      },
    });
  }

  delete(request: WriteRequest, name: string): Promise<WriteAnswer> {
    return this.#change(request, name, {
      action: 'deleted',
      role: 'admin',
      status: 204,
      apply: (flag) => {
        requireFence(flag, undefined);
        return null;
      },
    });
  }

  async #change(request: WriteRequest, name: string, change: Change): Promise<WriteAnswer> {
    checkedName(name);
    const repeated = await this.#recall(request, name);
    if (repeated !== null) return repeated;
    if (this.#requireIfMatch && request.ifMatch === null) {
      throw new FlagProblem(
        'precondition-required',
        'This server asks of every change which state it was made from: send If-Match with the ETag that was read, or with *.',
      );
    }
    for (let tries = 1; ; tries += 1) {
      const held = this.#visible(request.principal, name, await this.#store.get(name));
      const done = await this.#tryChange(request, held, change);
      if (done !== null) return done;
      // Who said which state it was made from is told at the next round that it is gone; anybody else tries again.
      if (tries >= FlagDefaults.writeTries) {
        throw new FlagProblem('busy', `${tries} tries to write ${name} lost against others; try again.`);
      }
      await delay(Math.random() * Math.min(100, 2 ** tries));
    }
  }

  /** null: another write came first. */
  async #tryChange(request: WriteRequest, held: StoredFlag, change: Change): Promise<WriteAnswer | null> {
    const { flag, revision } = held;
    requireFlagRole(request.principal, change.role, flag);
    if (request.ifMatch !== null && request.ifMatch !== '*' && !request.ifMatch.includes(flagETag(revision))) {
      throw new FlagProblem(
        'precondition-failed',
        `${flag.name} is at ${flagETag(revision)}, not at ${request.ifMatch.join(', ')}; read it again.`,
        { etag: flagETag(revision) },
      );
    }
    const now = this.#isoNow();
    const applied = change.apply(flag);
    const changes = flagChanges(flag, applied);
    if (applied !== null && Object.keys(changes).length === 0) {
      return this.#leave(request, held, change.status);
    }
    const next = applied === null ? null : { ...applied, updated_at: now };
    // Nobody takes a flag into an environment that is not theirs.
    if (next !== null) requireFlagRole(request.principal, change.role, next);
    const written = await this.#store.write({
      name: flag.name,
      expected: revision,
      next,
      audit: this.#entry(request, change.action, { flag: flag.name, changes, at: now }),
      idempotency: idempotencyOf(request, change.status),
    });
    switch (written.kind) {
      case 'written':
        await this.#ruleset.catchUp(written.revision);
        return {
          status: change.status,
          stored: next === null ? null : { flag: next, revision: written.revision },
          replayed: false,
        };
      case 'conflict':
        return null;
      case 'repeated':
        return this.#replay(request, written.remembered, flag.name);
      default:
        return written satisfies never;
    }
  }

  /** Nothing is to be done, which a request with a key has to find again at its repeat. null: another write came first. */
  async #leave(request: WriteRequest, held: StoredFlag, status: number): Promise<WriteAnswer | null> {
    const { flag, revision } = held;
    const idempotency = idempotencyOf(request, status);
    if (idempotency === null) return { status, stored: held, replayed: false };
    const written = await this.#store.remember({ name: flag.name, expected: revision, idempotency });
    switch (written.kind) {
      case 'written':
        return { status, stored: held, replayed: false };
      case 'conflict':
        return null;
      case 'repeated':
        return this.#replay(request, written.remembered, flag.name);
      default:
        return written satisfies never;
    }
  }

  #visible(principal: Principal, name: string, found: StoredFlag | null): StoredFlag {
    if (found === null) throw flagNotFound(name);
    requireSight(principal, found.flag);
    return found;
  }

  async #recall(request: WriteRequest, name: string): Promise<WriteAnswer | null> {
    const idempotency = idempotencyOf(request, 0);
    const remembered = idempotency === null ? null : await this.#store.recall(idempotency.key);
    return remembered === null ? null : this.#replay(request, remembered, name);
  }

  /** The answer to a request that was carried out before: the flag as it is now, and nothing is done. */
  async #replay(
    request: WriteRequest,
    remembered: { fingerprint: string; status: number },
    name: string,
  ): Promise<WriteAnswer> {
    requireSameRequest(request, remembered);
    if (remembered.status === 204) return { status: 204, stored: null, replayed: true };
    const stored = this.#visible(request.principal, name, await this.#store.get(name));
    return { status: remembered.status, stored, replayed: true };
  }

  #entry(
    request: WriteRequest,
    action: AuditAction,
    what: { flag: string; changes: Record<string, unknown>; at: string },
  ) {
    return { ...what, action, actor: request.principal.id, request_id: request.requestId };
  }

  #isoNow(): string {
    return new Date(this.#now()).toISOString();
  }
}

/** A flag's ETag: strong, of its revision. */
export function flagETag(revision: number): string {
  return `"${revision}"`;
}

export function flagNotFound(name: string): FlagProblem {
  return new FlagProblem('flag-not-found', `There is no flag ${name}.`);
}

/** The name, when it can be a flag's. */
export function checkedName(name: string): string {
  const problem = flagNameProblem(name);
  if (problem !== null) throw new FlagProblem('invalid-name', problem);
  return name;
}

function requireFence(flag: FlagDocument, given: SetRollout['fence']): void {
  const refusal = refuseFence(flag.fence, given);
  if (refusal !== null) throw new FlagProblem(refusal.code, refusal.detail, { held: flag.fence });
}

/** What a store is to remember of a request; null of one without a key. */
export function idempotencyOf(request: WriteRequest, status: number): Idempotency | null {
  if (request.idempotencyKey === null) return null;
  // Of its sender: two of them may draw the same key.
  const key = hash('sha256', `${request.principal.id}\n${request.idempotencyKey}`);
  return { key, fingerprint: fingerprintOf(request), status };
}

/** Refuses a key that stands for another request. */
export function requireSameRequest(request: WriteRequest, remembered: Pick<Remembered, 'fingerprint'>): void {
  if (remembered.fingerprint === fingerprintOf(request)) return;
  throw new FlagProblem('key-reused', 'This Idempotency-Key stands for another request; use a new one for each.');
}

function fingerprintOf(request: WriteRequest): string {
  return hash('sha256', request.request);
}

function withoutUndefined<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(given) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
