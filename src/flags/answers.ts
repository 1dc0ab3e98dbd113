import { z } from 'zod';
import { RELEASE_ROLES, ROLES } from './access';
import { FlagDocument, flagSchemas } from './flag';
import { AUDIT_ACTIONS } from './store';

export const FlagAnswer = FlagDocument.extend({ revision: z.int() }).register(flagSchemas, {
  id: 'Flag',
  description: 'A flag; `revision` is what its ETag is made of.',
});
export type FlagAnswer = z.infer<typeof FlagAnswer>;

export const FlagPage = z
  .object({ flags: z.array(FlagAnswer), next_cursor: z.string().nullable() })
  .register(flagSchemas, { id: 'FlagPage' });
export type FlagPage = z.infer<typeof FlagPage>;

export const KeyAnswer = z
  .object({
    id: z.string(),
    grants: z.array(z.object({ role: z.enum(ROLES), environment: z.string() })),
    // A service of an older version says nothing of these.
    releases: z.array(z.object({ role: z.enum(RELEASE_ROLES), namespace: z.string() })).default([]),
    groups: z.array(z.string()).default([]),
  })
  .register(flagSchemas, { id: 'Key', description: 'Who asks, and what they may do where; `*` is everywhere.' });
export type KeyAnswer = z.infer<typeof KeyAnswer>;

export const RulesetAnswer = z
  .object({
    /** Where the flags stand: `since` of the next question is `incarnation.revision`. */
    incarnation: z.string(),
    revision: z.int(),
    /** The flags are all there are, with those of the next pages: what else is known is gone. */
    complete: z.boolean(),
    flags: z.array(FlagAnswer),
    deleted: z.array(z.string()),
    next_cursor: z.string().nullable(),
  })
  .register(flagSchemas, { id: 'Ruleset' });
export type RulesetAnswer = z.infer<typeof RulesetAnswer>;

const RULES = ['disabled', 'environment', 'blacklist', 'whitelist', 'percentage', 'default', 'unavailable'] as const;

export const CheckAnswer = z
  .object({
    flag: z.string(),
    user_id: z.string(),
    enabled: z.boolean(),
    /** The rule that decided. */
    reason: z.enum(RULES),
    environment: z.string(),
    variant: z.string(),
    value: z.union([z.boolean(), z.string(), z.number(), z.record(z.string(), z.unknown())]),
  })
  .register(flagSchemas, { id: 'CheckAnswer' });
export type CheckAnswer = z.infer<typeof CheckAnswer>;

export const Explanation = CheckAnswer.extend({
  bucket: z.int().nullable(),
  percentage: z.int().nullable(),
  rules: z.array(z.object({ rule: z.enum(RULES), decided: z.boolean(), because: z.string() })),
}).register(flagSchemas, { id: 'Explanation' });
export type Explanation = z.infer<typeof Explanation>;

const DayAnswer = z.object({
  date: z.string(),
  total: z.int(),
  enabled: z.int(),
  disabled: z.int(),
  unique_users: z.int(),
});

export const StatsAnswer = DayAnswer.omit({ date: true })
  .extend({
    flag: z.string(),
    days: z.int(),
    last_evaluated_at: z.string().nullable(),
    by_day: z.array(DayAnswer),
  })
  .register(flagSchemas, { id: 'Stats' });
export type StatsAnswer = z.infer<typeof StatsAnswer>;

const Counts = z.object({
  total: z.int(),
  failed: z.int(),
  /** At or below each of `bounds_ms`, and at last all of which the latency is known. */
  latency: z.array(z.int()),
});

export const OutcomesAccepted = z
  .object({ flag: z.string(), environment: z.string(), accepted: z.int() })
  .register(flagSchemas, { id: 'OutcomesAccepted' });
export type OutcomesAccepted = z.infer<typeof OutcomesAccepted>;

export const OutcomesAnswer = z
  .object({
    flag: z.string(),
    environment: z.string(),
    /** Other counters have another identity, and begin at nothing; null before the first outcome. */
    counters: z.string().nullable(),
    since: z.string().nullable(),
    bounds_ms: z.array(z.number()),
    enabled: Counts,
    disabled: Counts,
    window: z.object({ seconds: z.int(), enabled: Counts, disabled: Counts }),
  })
  .register(flagSchemas, { id: 'Outcomes' });
export type OutcomesAnswer = z.infer<typeof OutcomesAnswer>;

export const AuditPage = z
  .object({
    entries: z.array(
      z.object({
        id: z.string(),
        at: z.string(),
        actor: z.string(),
        action: z.enum(AUDIT_ACTIONS),
        flag: z.string(),
        revision: z.int(),
        changes: z.record(z.string(), z.unknown()),
        request_id: z.string().nullable(),
      }),
    ),
    next_cursor: z.string().nullable(),
  })
  .register(flagSchemas, { id: 'AuditPage' });
export type AuditPage = z.infer<typeof AuditPage>;
