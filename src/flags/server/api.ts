import { z } from 'zod';
import { environmentOf, may, maySee, requireFlagRole, requireSight, seesEverything, viewOf } from '../access';
import type { Principal } from '../access';
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
import type { FlagChecks } from '../checks';
import { FlagDefaults } from '../defaults';
import { evaluateFlag, explainFlag } from '../evaluate';
import { CheckFlag, CreateFlag, EnvironmentName, ListUser, PostOutcomes, SetRollout, UpdateFlag } from '../flag';
import type { StoredFlag } from '../flag';
import { checkedName, flagETag, flagNotFound } from '../flag-service';
import type { FlagService, WriteAnswer } from '../flag-service';
import type { OutcomeService } from '../outcome-service';
import { FlagProblem } from '../problem';
import { BAD_CURSOR, usageDays } from '../store';
import type { FlagStore, StoreHead } from '../store';
import type { UsageRecorder } from '../usage';
import { endpoint, whole } from './endpoint';
import type { Answer, Asked, Endpoint } from './endpoint';
import { matches } from './http';

const FLAGS = '/api/feature-flags';

const limit = whole(1, FlagDefaults.maxPageSize).default(FlagDefaults.pageSize);
const PageQuery = z.strictObject({ limit, cursor: z.string().max(500).optional() });
/** Where a follower stands, as `incarnation.revision`. */
const Since = z
  .string()
  .regex(/^[0-9a-zA-Z-]{0,64}\.\d{1,15}$/, 'incarnation.revision of an answer before')
  .transform((text): StoreHead => {
    const [incarnation = '', revision] = text.split('.');
    return { incarnation, revision: Number(revision) };
  });
const RulesetQuery = z.strictObject({
  since: Since.optional(),
  cursor: z.string().max(500).optional(),
});
const StatsQuery = z.strictObject({ days: whole(1, FlagDefaults.usageDays).default(FlagDefaults.usageDays) });

const OutcomesQuery = z.strictObject({
  environment: EnvironmentName.optional(),
  window: whole(1, FlagDefaults.outcomeWindowSeconds).default(FlagDefaults.outcomeWindow),
});

export interface ApiParts {
  readonly service: FlagService;
  readonly checks: FlagChecks;
  readonly store: FlagStore;
  readonly usage: UsageRecorder;
  readonly outcomes: OutcomeService;
  readonly environment: string;
  readonly now: () => number;
}

/** What most endpoints of a flag have in common. */
const common = {
  of: 'flags',
  body: null,
  query: null,
  bodyLimit: FlagDefaults.maxBodyBytes,
  writes: null,
  conditional: false,
  hot: false,
} as const;
const OF_FLAG = ['invalid-name', 'flag-not-found'] as const;
const OF_WRITE = [
  ...OF_FLAG,
  'precondition-failed',
  'precondition-required',
  'key-reused',
  'busy',
  'store-unavailable',
] as const;
const FLAG_GIVEN = { 200: { description: 'The flag as it is now.', schema: FlagAnswer } };

/** The REST endpoints. */
export function flagEndpoints(parts: ApiParts): readonly Endpoint[] {
  const { service } = parts;
  return [
    endpoint({
      ...common,
      method: 'POST',
      path: FLAGS,
      id: 'createFlag',
      summary: 'Create a flag',
      role: 'write',
      body: CreateFlag,
      writes: 'adds',
      answers: { 201: { description: 'The new flag.', schema: FlagAnswer } },
      // A repeat is answered with the flag as it is then, and it may be gone.
      problems: ['flag-exists', 'flag-not-found', 'key-reused', 'store-unavailable'],
      handle: async ({ write, body }) => {
        const answer = await service.create(write(), body);
        return written(answer, { location: `${FLAGS}/${body.name}` });
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: FLAGS,
      id: 'listFlags',
      summary: 'List flags by name',
      role: 'read',
      query: PageQuery,
      answers: { 200: { description: 'One page.', schema: FlagPage } },
      problems: ['store-unavailable'],
      handle: async ({ principal, query }) => {
        const after = query.cursor === undefined ? null : nameOfCursor(query.cursor);
        const { items, next } = await service.list(principal, { after, limit: query.limit });
        return {
          status: 200,
          body: { flags: items.map(presented), next_cursor: next === null ? null : cursorOf(next) },
        };
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: `${FLAGS}/{name}`,
      id: 'getFlag',
      summary: 'Get a flag',
      role: 'read',
      answers: FLAG_GIVEN,
      problems: [...OF_FLAG, 'store-unavailable'],
      handle: async ({ principal, params }) => given(await service.get(principal, params['name'] ?? '')),
    }),
    endpoint({
      ...common,
      method: 'PUT',
      path: `${FLAGS}/{name}`,
      id: 'updateFlag',
      summary: 'Change a flag: what is named is replaced, the rest stays',
      role: 'write',
      body: UpdateFlag,
      writes: 'changes',
      answers: FLAG_GIVEN,
      problems: [...OF_WRITE, 'release-holds'],
      handle: async ({ write, params, body }) => written(await service.update(write(), params['name'] ?? '', body)),
    }),
    endpoint({
      ...common,
      method: 'DELETE',
      path: `${FLAGS}/{name}`,
      id: 'deleteFlag',
      summary: 'Delete a flag and its usage',
      role: 'admin',
      writes: 'changes',
      answers: { 204: { description: 'It is gone.', schema: null } },
      problems: [...OF_WRITE, 'release-holds'],
      handle: async ({ write, params }) => written(await service.delete(write(), params['name'] ?? '')),
    }),
    endpoint({
      ...common,
      method: 'POST',
      path: `${FLAGS}/{name}/check`,
      id: 'checkFlag',
      summary: 'Ask whether a flag is on for a user',
      role: 'read',
      body: CheckFlag,
      bodyLimit: FlagDefaults.maxContextBytes,
      hot: true,
      answers: { 200: { description: 'The answer and the rule that decided.', schema: CheckAnswer } },
      problems: OF_FLAG,
      handle: ({ principal, params, body }) => check(parts, principal, { name: params['name'] ?? '', ...body }),
    }),
    endpoint({
      ...common,
      method: 'POST',
      path: `${FLAGS}/{name}/explain`,
      id: 'explainFlag',
      summary: 'The same with every rule that was asked; not counted as usage',
      role: 'read',
      body: CheckFlag,
      bodyLimit: FlagDefaults.maxContextBytes,
      answers: { 200: { description: 'The answer, rule by rule.', schema: Explanation } },
      problems: [...OF_FLAG, 'store-unavailable'],
      handle: ({ principal, params, body }) => explain(parts, principal, { name: params['name'] ?? '', ...body }),
    }),
    endpoint({
      ...common,
      method: 'PATCH',
      path: `${FLAGS}/{name}/rollout`,
      id: 'setRollout',
      summary: 'Set the percentage',
      role: 'write',
      body: SetRollout,
      writes: 'changes',
      answers: FLAG_GIVEN,
      problems: [...OF_WRITE, 'stale-fence', 'release-holds'],
      handle: async ({ write, params, body }) => written(await service.setRollout(write(), params['name'] ?? '', body)),
    }),
    ...(['whitelist', 'blacklist'] as const).flatMap((list) => [
      endpoint({
        ...common,
        method: 'POST',
        path: `${FLAGS}/{name}/${list}`,
        id: `addTo${list === 'whitelist' ? 'Whitelist' : 'Blacklist'}`,
        summary: `Put a user on the ${list}`,
        role: 'write',
        body: ListUser,
        bodyLimit: FlagDefaults.maxContextBytes,
        writes: 'changes',
        answers: FLAG_GIVEN,
        problems: [...OF_WRITE, 'list-full'],
        handle: async ({ write, params, body }) =>
          written(await service.addToList(write(), params['name'] ?? '', { list, userId: body.user_id })),
      }),
      endpoint({
        ...common,
        method: 'DELETE',
        path: `${FLAGS}/{name}/${list}/{user_id}`,
        id: `removeFrom${list === 'whitelist' ? 'Whitelist' : 'Blacklist'}`,
        summary: `Take a user off the ${list}`,
        role: 'write',
        writes: 'changes',
        answers: FLAG_GIVEN,
        problems: [...OF_WRITE, 'user-not-listed'],
        handle: async ({ write, params }) =>
          written(
            await service.removeFromList(write(), params['name'] ?? '', { list, userId: params['user_id'] ?? '' }),
          ),
      }),
    ]),
    endpoint({
      ...common,
      method: 'GET',
      path: `${FLAGS}/{name}/stats`,
      id: 'flagStats',
      summary: 'Checks of the last days',
      role: 'read',
      query: StatsQuery,
      answers: { 200: { description: 'Totals, and by day.', schema: StatsAnswer } },
      problems: [...OF_FLAG, 'store-unavailable'],
      handle: ({ principal, params, query }) =>
        stats(parts, principal, { name: params['name'] ?? '', days: query.days }),
    }),
    endpoint({
      ...common,
      method: 'POST',
      path: `${FLAGS}/{name}/outcomes`,
      id: 'postOutcomes',
      summary: 'Tell how it went for users of a flag, with it and without it',
      role: 'report',
      body: PostOutcomes,
      writes: 'adds',
      answers: { 202: { description: 'They are counted within a second.', schema: OutcomesAccepted } },
      problems: [...OF_FLAG, 'key-reused', 'store-unavailable'],
      handle: async ({ write, params, body }) => {
        const { replayed, ...accepted } = await parts.outcomes.post(write(), params['name'] ?? '', body);
        return { status: 202, headers: replayed ? { 'idempotent-replayed': 'true' } : {}, body: accepted };
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: `${FLAGS}/{name}/outcomes`,
      id: 'flagOutcomes',
      summary: 'What the outcomes come to: since they are counted, and within the last seconds',
      role: 'read',
      query: OutcomesQuery,
      answers: { 200: { description: 'Both sides, of one moment.', schema: OutcomesAnswer } },
      problems: [...OF_FLAG, 'store-unavailable'],
      handle: async ({ principal, params, query }) => ({
        status: 200,
        body: await parts.outcomes.read(principal, params['name'] ?? '', query),
      }),
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: `${FLAGS}/{name}/audit`,
      id: 'flagAudit',
      summary: 'Who changed this flag, newest first; of a deleted one, too',
      role: 'read',
      query: PageQuery,
      answers: { 200: { description: 'One page.', schema: AuditPage } },
      problems: ['invalid-name', 'store-unavailable'],
      handle: async (asked) => {
        const name = checkedName(asked.params['name'] ?? '');
        const stored = await parts.store.get(name);
        requireFlagRole(asked.principal, 'read', stored?.flag ?? { name, environments: [] });
        return audit(parts, asked, name);
      },
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: '/api/key',
      id: 'key',
      summary: 'What the key of this request may do',
      // Whoever may do nothing with flags, such as a key for releases alone, learns it here.
      role: null,
      answers: { 200: { description: 'Its name and grants.', schema: KeyAnswer } },
      problems: [],
      handle: ({ principal: { id, grants, releases, groups } }) => ({
        status: 200,
        body: { id, grants, releases, groups },
      }),
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: '/api/ruleset',
      id: 'ruleset',
      summary: 'All flags this key may see, or what has changed of them: for who evaluates by itself',
      role: 'read',
      query: RulesetQuery,
      conditional: true,
      answers: {
        200: { description: 'The first page of all, or every change.', schema: RulesetAnswer },
        304: { description: 'Nothing has changed.', schema: null },
      },
      problems: ['store-unavailable'],
      handle: (asked) => ruleset(parts, asked),
    }),
    endpoint({
      ...common,
      method: 'GET',
      path: '/api/feature-flag-audit',
      id: 'audit',
      summary: 'Who changed which flag, newest first',
      role: 'admin',
      query: PageQuery,
      answers: { 200: { description: 'One page.', schema: AuditPage } },
      problems: ['forbidden', 'store-unavailable'],
      handle: (asked) => {
        if (!may(asked.principal, 'admin', '*')) {
          throw new FlagProblem('forbidden', `${asked.principal.id} may not read the audit of all environments.`);
        }
        return audit(parts, asked, null);
      },
    }),
  ];
}

interface Question {
  readonly name: string;
  readonly user_id: string;
  readonly environment?: string | undefined;
}

function check(parts: ApiParts, principal: Principal, question: Question): Answer {
  const environment = environmentOf(principal, question.environment, parts.environment);
  const known = parts.checks.ruleset.flag(question.name);
  if (known !== undefined) requireSight(principal, known);
  const checked = parts.checks.check(question.name, { userId: question.user_id, environment });
  const asked = { flag: question.name, user_id: question.user_id };
  switch (checked.kind) {
    case 'answered': {
      const { enabled, rule, variant, value } = checked.evaluation;
      return { status: 200, body: { ...asked, enabled, reason: rule, environment, variant, value } };
    }
    case 'unavailable':
      return {
        status: 200,
        body: { ...asked, enabled: false, reason: 'unavailable', environment, variant: 'off', value: false },
      };
    case 'unknown':
      throw flagNotFound(checkedName(question.name));
    case 'user-missing':
      throw new Error('a check without a user');
    default:
      return checked satisfies never;
  }
}

function explain(parts: ApiParts, principal: Principal, question: Question): Answer {
  const environment = environmentOf(principal, question.environment, parts.environment);
  const flag = parts.checks.ruleset.flag(checkedName(question.name));
  if (flag === undefined) {
    if (parts.checks.ruleset.state === 'empty') {
      throw new FlagProblem('store-unavailable', 'No flags could be loaded yet.');
    }
    throw flagNotFound(question.name);
  }
  requireSight(principal, flag);
  const subject = { userId: question.user_id, environment };
  const evaluation = evaluateFlag(flag, subject);
  if (evaluation.rule === 'user-missing') throw new Error('a question without a user');
  const { enabled, rule, variant, value, bucket } = evaluation;
  return {
    status: 200,
    body: {
      flag: question.name,
      user_id: question.user_id,
      enabled,
      reason: rule,
      environment,
      variant,
      value,
      bucket,
      percentage: flag.percentage,
      rules: explainFlag(flag, subject),
    },
  };
}

async function stats(
  { service, store, usage, now }: ApiParts,
  principal: Principal,
  { name, days }: { name: string; days: number },
): Promise<Answer> {
  await service.get(principal, name);
  // What this process counted and has not yet handed on.
  await usage.flush();
  const found = await store.usage(name, usageDays(now(), days));
  const byDay = found.days.map(({ day, enabled, disabled, unique_users }) => ({
    date: `${day.slice(0, 4)}-${day.slice(4, 6)}-${day.slice(6)}`,
    total: enabled + disabled,
    enabled,
    disabled,
    unique_users,
  }));
  const enabled = byDay.reduce((sum, day) => sum + day.enabled, 0);
  const disabled = byDay.reduce((sum, day) => sum + day.disabled, 0);
  return {
    status: 200,
    body: {
      flag: name,
      days,
      total: enabled + disabled,
      enabled,
      disabled,
      unique_users: found.unique_users,
      last_evaluated_at: found.last_evaluated_at,
      by_day: byDay,
    },
  };
}

/**
 * Changes come from the store, so a follower never goes back to what an instance has not heard of yet; that there is none
 * is said from memory, so that a thousand followers are no load on the store. Who may see other flags than before follows
 * another history, and loads it whole: the incarnation is of the key's view, too.
 */
async function ruleset(
  { service, checks, store }: ApiParts,
  { principal, query, ifNoneMatch }: Asked<unknown, z.output<typeof RulesetQuery>>,
): Promise<Answer> {
  const { head: heard, ageMs } = checks.ruleset;
  const recent = heard !== null && ageMs !== null && ageMs <= FlagDefaults.rulesetHeardMs;
  const seenBy = (head: StoreHead): StoreHead => ({ ...head, incarnation: `${head.incarnation}-${viewOf(principal)}` });
  if (recent && ifNoneMatch !== undefined && matches(ifNoneMatch, headETag(seenBy(heard)))) {
    return { status: 304, headers: headHeaders(seenBy(heard)), body: null };
  }
  const { cursor } = query;
  const since = query.since === undefined ? null : storeHead(principal, query.since);
  if (since !== null && cursor === undefined) {
    const told: StoredFlag[] = [];
    // One more than fits, to know that it does not.
    const { head, complete, deleted } = await store.changes(since, (flag) => {
      if (told.length <= FlagDefaults.rulesetPageSize) told.push(flag);
    });
    // One that it may not see, or no longer, is not named, and neither is one of which nobody knows any more whether it
    // could be seen: where there are such, the key is told all that it may see, and the rest is gone for it.
    const canNameAll =
      seesEverything(principal) || (deleted.length === 0 && told.every(({ flag }) => maySee(principal, flag)));
    if (!complete && told.length <= FlagDefaults.rulesetPageSize && canNameAll) {
      const body = { ...seenBy(head), complete, flags: told.map(presented), deleted, next_cursor: null };
      return { status: 200, headers: headHeaders(seenBy(head)), body };
    }
  }
  // Before the pages: what is written while they are read is told as a change of it.
  const head = seenBy(await store.head());
  const after = cursor === undefined ? null : nameOfCursor(cursor);
  const { items, next } = await service.list(principal, { after, limit: FlagDefaults.rulesetPageSize });
  return {
    status: 200,
    headers: headHeaders(head),
    body: {
      ...head,
      complete: true,
      flags: items.map(presented),
      deleted: [],
      next_cursor: next === null ? null : cursorOf(next),
    },
  };
}

/** What the store calls a head that was answered to this view; null: it was answered to another. */
function storeHead(principal: Principal, { incarnation, revision }: StoreHead): StoreHead | null {
  const view = `-${viewOf(principal)}`;
  return incarnation.endsWith(view) ? { incarnation: incarnation.slice(0, -view.length), revision } : null;
}

function headHeaders(head: StoreHead): Record<string, string> {
  return { etag: headETag(head), 'cache-control': 'no-cache' };
}

function headETag({ incarnation, revision }: StoreHead): string {
  return `"${incarnation}.${revision}"`;
}

async function audit(
  { store }: ApiParts,
  { query }: Asked<unknown, z.output<typeof PageQuery>>,
  flag: string | null,
): Promise<Answer> {
  const { cursor, limit } = query;
  const { items, next } = await store.audit({ flag, before: cursor ?? null, limit });
  return { status: 200, body: { entries: items, next_cursor: next } };
}

function presented({ flag, revision }: StoredFlag): FlagAnswer {
  return { ...flag, revision };
}

function given(stored: StoredFlag): Answer {
  return { status: 200, headers: { etag: flagETag(stored.revision) }, body: presented(stored) };
}

function written({ status, stored, replayed }: WriteAnswer, headers: Record<string, string> = {}): Answer {
  const replay = replayed ? { 'idempotent-replayed': 'true' } : {};
  if (stored === null) return { status, headers: replay, body: null };
  return { ...given(stored), status, headers: { ...headers, ...replay, etag: flagETag(stored.revision) } };
}

function cursorOf(name: string): string {
  return Buffer.from(name).toString('base64url');
}

function nameOfCursor(cursor: string): string {
  const name = Buffer.from(cursor, 'base64url').toString();
  if (cursorOf(name) !== cursor) throw new FlagProblem('invalid-request', `The query is not valid: ${BAD_CURSOR}.`);
  return name;
}
