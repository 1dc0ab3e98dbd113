import { z } from 'zod';
import { FlagDefaults } from './defaults';

/** What the OpenAPI document says of a schema, beside what that says itself. */
export interface SchemaMeta {
  readonly id: string;
  readonly description?: string;
  readonly example?: unknown;
  /** What a check of our own stands for, in JSON Schema. */
  readonly pattern?: string;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly anyOf?: readonly object[];
}

/** The schemas that the OpenAPI document names. */
export const flagSchemas = z.registry<SchemaMeta>();

/**
 * What a flag may be called. No `:`, because a bucket is the hash of `flag:user`, and `a:b` with user `c` would share
 * its buckets with `a` and user `b:c`.
 */
const NAME = /^[a-z0-9][a-z0-9._-]*$/;
const MAX_NAME_LENGTH = 128;
/** Names of keys that a store has for itself. */
const RESERVED = new Set(['all']);

/** What a name may be, for people. */
export const FLAG_NAME_RULE = `1 to ${MAX_NAME_LENGTH} characters of a-z, 0-9, ".", "_" and "-", beginning with a letter or a digit`;

/** Why a name cannot be a flag's, as one sentence; null when it can. */
export function flagNameProblem(name: unknown): string | null {
  if (typeof name !== 'string') return `A flag's name is a text: ${FLAG_NAME_RULE}.`;
  if (RESERVED.has(name)) return `"${name}" is reserved for the store's own index; choose another name.`;
  if (name.length <= MAX_NAME_LENGTH && NAME.test(name)) return null;
  const shown = name.length <= 60 ? name : `${name.slice(0, 59)}…`;
  return `${JSON.stringify(shown)} cannot be a flag's name; allowed: ${FLAG_NAME_RULE}.`;
}

export const FlagName = z
  .string()
  .superRefine((name, context) => {
    const problem = flagNameProblem(name);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  })
  .register(flagSchemas, {
    id: 'FlagName',
    description: FLAG_NAME_RULE,
    example: 'new-checkout',
    pattern: NAME.source,
    minLength: 1,
    maxLength: MAX_NAME_LENGTH,
  });

const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;
const LONE_SURROGATE = /[\ud800-\udfff]/u;

/** UTF-8, case-sensitive, not trimmed: what is hashed is what came. Control characters are nobody's id. */
export const UserId = z
  .string()
  .min(1, 'a user id is not empty')
  .max(FlagDefaults.maxUserIdLength)
  .refine((id) => !CONTROL_CHARACTER.test(id), 'a user id has no control characters')
  .refine((id) => !LONE_SURROGATE.test(id), 'a user id is well-formed Unicode')
  .register(flagSchemas, { id: 'UserId', example: 'user123', pattern: '^[^\\u0000-\\u001f\\u007f]+$' });

/** The same rules without a word on which was broken, for who asks thousands of times a second. */
export function isUserId(value: unknown): value is string {
  return (
    typeof value === 'string' &&
    value !== '' &&
    value.length <= FlagDefaults.maxUserIdLength &&
    !CONTROL_CHARACTER.test(value) &&
    !LONE_SURROGATE.test(value)
  );
}

/** What an environment may be called. */
export const EnvironmentName = z
  .string()
  .regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/, 'an environment has 1 to 64 letters, digits, ".", "_" and "-"')
  .register(flagSchemas, { id: 'EnvironmentName', example: 'production' });

/** Whole percent: a fraction would be rounded up by `bucket < percentage`, and 0.5 would mean 1. */
export const Percentage = z
  .int('a percentage is a whole number')
  .min(0)
  .max(100)
  .register(flagSchemas, { id: 'Percentage' });

const UserList = z
  .array(UserId)
  .max(FlagDefaults.maxListedUsers, `a list holds at most ${FlagDefaults.maxListedUsers} users`)
  .transform((users) => [...new Set(users)]);

const EnvironmentList = z
  .array(EnvironmentName)
  .max(FlagDefaults.maxEnvironments)
  .transform((names) => [...new Set(names)]);

/** Whose a flag is and what for. */
export const FlagMetadata = z
  .strictObject({
    owner: z.string().max(200).optional(),
    tags: z.array(z.string().min(1).max(100)).max(FlagDefaults.maxTags).optional(),
    /** `release` flags are to go again, `ops` flags are switches, `permanent` flags stay. */
    kind: z.enum(['release', 'ops', 'permanent']).optional(),
    /** When somebody should look whether the flag is still needed; nothing happens by itself. */
    expires_at: z.iso.datetime({ offset: true }).optional(),
  })
  .register(flagSchemas, { id: 'FlagMetadata' });
export type FlagMetadata = z.infer<typeof FlagMetadata>;

/** A variant's value. */
export type VariantValue = boolean | string | number | { readonly [key: string]: unknown };

// It came as JSON, so whatever is in it is JSON.
const VariantObject = z
  .record(z.string(), z.unknown())
  .refine(
    (value) => JSON.stringify(value).length <= FlagDefaults.maxVariantLength,
    `a variant's value has at most ${FlagDefaults.maxVariantLength} characters as JSON`,
  );

/**
 * Typed values in place of on and off. `on` names the variant of users for whom the flag is on, `default` that of
 * everybody else; all values are of one type.
 */
export const FlagVariants = z
  .strictObject({
    values: z.record(
      z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'a variant has 1 to 64 letters, digits, ".", "_" and "-"'),
      z.union([z.boolean(), z.string().max(FlagDefaults.maxVariantLength), z.number(), VariantObject], {
        error: "a variant's value is true or false, a text, a finite number or an object",
      }),
    ),
    on: z.string(),
    default: z.string(),
  })
  .superRefine(({ values, on, default: byDefault }, context) => {
    const names = Object.keys(values);
    if (names.length > FlagDefaults.maxVariants) {
      context.addIssue({
        code: 'custom',
        path: ['values'],
        message: `a flag has at most ${FlagDefaults.maxVariants} variants`,
      });
    }
    for (const [field, name] of [
      ['on', on],
      ['default', byDefault],
    ] as const) {
      if (Object.hasOwn(values, name)) continue;
      const message = `there is no variant ${JSON.stringify(name)}; there are ${names.join(', ') || 'none'}`;
      context.addIssue({ code: 'custom', path: [field], message });
    }
    const types = new Set(Object.values(values).map((value) => typeof value));
    if (types.size > 1) {
      const message = `all values of a flag are of one type, these are ${[...types].join(' and ')}`;
      context.addIssue({ code: 'custom', path: ['values'], message });
    }
  })
  .register(flagSchemas, { id: 'FlagVariants' });
export type FlagVariants = z.infer<typeof FlagVariants>;

const Place = z.int().min(0);

/**
 * The place of a release's write in the order of all writes to a flag: by epoch, then step, then attempt. A flag keeps the
 * highest, and refuses what comes after it but is older.
 */
export const GivenFence = z
  .strictObject({
    /** The release's id. */
    owner: z.string().min(1).max(200),
    /** A later release has a higher one. */
    epoch: Place,
    step: Place.default(0),
    attempt: Place.default(0),
    /** While true, nobody but a release changes the percentage or the variants. Switching the flag off is always allowed. */
    hold: z.boolean().default(false),
  })
  .register(flagSchemas, { id: 'GivenFence' });
export type GivenFence = z.infer<typeof GivenFence>;

/** Who wrote a flag's percentage last, of all releases. */
export const FlagFence = GivenFence.extend({
  /** The percentage that the owner found before its first write; null for everybody. */
  former: Percentage.nullable(),
}).register(flagSchemas, { id: 'FlagFence' });
export type FlagFence = z.infer<typeof FlagFence>;

const Description = z.string().max(2_000);
const NullablePercentage = Percentage.nullable();

/** Body of `POST /api/feature-flags`. */
export const CreateFlag = z
  .strictObject({
    name: FlagName,
    enabled: z.boolean().default(false),
    description: Description.default(''),
    /** Left out: everybody, or, beside a whitelist, nobody but the listed. */
    rollout_percentage: NullablePercentage.optional(),
    whitelist: UserList.default([]),
    blacklist: UserList.default([]),
    /** Where the flag can be on; none: everywhere. */
    environments: EnvironmentList.default([]),
    metadata: FlagMetadata.default({}),
    variants: FlagVariants.nullable().default(null),
  })
  .register(flagSchemas, { id: 'CreateFlag' });
export type CreateFlag = z.infer<typeof CreateFlag>;

/** Body of `PUT /api/feature-flags/{name}`: what is named is replaced, the rest stays. */
export const UpdateFlag = z
  .strictObject({
    name: FlagName.optional(),
    enabled: z.boolean().optional(),
    description: Description.optional(),
    rollout_percentage: NullablePercentage.optional(),
    whitelist: UserList.optional(),
    blacklist: UserList.optional(),
    environments: EnvironmentList.optional(),
    metadata: FlagMetadata.optional(),
    variants: FlagVariants.nullable().optional(),
  })
  .register(flagSchemas, { id: 'UpdateFlag' });
export type UpdateFlag = z.infer<typeof UpdateFlag>;

/** Body of `PATCH /api/feature-flags/{name}/rollout`; null is for a release: what the percentage was before its first write. */
export const SetRollout = z
  .strictObject({ percentage: Percentage.nullable(), fence: GivenFence.optional() })
  .refine(({ percentage, fence }) => percentage !== null || fence !== undefined, {
    path: ['percentage'],
    message: 'null stands for what a release found, so it needs its fence; without one it is a whole number, 0 to 100',
  })
  .register(flagSchemas, {
    id: 'SetRollout',
    anyOf: [{ properties: { percentage: { type: 'integer' } } }, { required: ['fence'] }],
  });
export type SetRollout = z.infer<typeof SetRollout>;

/** Body of the whitelist's and the blacklist's POST. */
export const ListUser = z.strictObject({ user_id: UserId }).register(flagSchemas, { id: 'ListUser' });

/** Body of `POST /api/feature-flags/{name}/check`. */
export const CheckFlag = z
  .strictObject({ user_id: UserId, environment: EnvironmentName.optional() })
  .register(flagSchemas, { id: 'CheckFlag' });

const Latency = z
  .number()
  .min(0)
  .max(FlagDefaults.maxLatencyMs, `a latency is in milliseconds, at most ${FlagDefaults.maxLatencyMs}`);

/** How one use of a flag went; whose it was, or which variant it had. */
export const PostedOutcome = z
  .strictObject({
    user_id: UserId.optional(),
    /** What the flag answered, by its name; left out: what it answers this user now. */
    variant: z.string().min(1).max(64).optional(),
    ok: z.boolean(),
    latency_ms: Latency.optional(),
  })
  .refine(({ user_id: user, variant }) => user !== undefined || variant !== undefined, {
    message: 'an outcome names its user_id, or the variant that it had',
  });

/** Body of `POST /api/feature-flags/{name}/outcomes`. */
export const PostOutcomes = z
  .strictObject({
    environment: EnvironmentName.optional(),
    outcomes: z
      .array(PostedOutcome)
      .min(1, 'there are no outcomes')
      .max(FlagDefaults.maxOutcomes, `at most ${FlagDefaults.maxOutcomes} outcomes at once`),
  })
  .register(flagSchemas, { id: 'PostOutcomes' });
export type PostOutcomes = z.infer<typeof PostOutcomes>;

/** A flag as a store keeps it. */
export const FlagDocument = z
  .object({
    name: FlagName,
    enabled: z.boolean(),
    description: z.string(),
    rollout_percentage: NullablePercentage,
    whitelist: z.array(UserId),
    blacklist: z.array(UserId),
    environments: z.array(EnvironmentName),
    metadata: FlagMetadata,
    variants: FlagVariants.nullable(),
    fence: FlagFence.nullable(),
    created_at: z.string(),
    updated_at: z.string(),
  })
  .register(flagSchemas, { id: 'FlagDocument' });
export type FlagDocument = z.infer<typeof FlagDocument>;

/** A flag and the store's revision of its last write: what its ETag is made of. */
export interface StoredFlag {
  readonly flag: FlagDocument;
  readonly revision: number;
}

/** A new flag from what its creator gave. */
export function newFlag(given: CreateFlag, now: string): FlagDocument {
  const { rollout_percentage: percentage, ...rest } = given;
  return {
    ...rest,
    // Written down rather than derived: taking the last user off the whitelist must not turn the flag on for everybody.
    rollout_percentage: percentage ?? (percentage === undefined && given.whitelist.length > 0 ? 0 : null),
    fence: null,
    created_at: now,
    updated_at: now,
  };
}
