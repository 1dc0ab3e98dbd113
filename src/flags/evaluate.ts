import { bucketAfter, bucketPrefix } from './bucket';
import type { FlagDocument, StoredFlag, VariantValue } from './flag';
import { userSet } from './user-set';
import type { UserSet } from './user-set';

/** Which rule decided, in the order in which they are asked. */
export type FlagRule = 'disabled' | 'environment' | 'blacklist' | 'whitelist' | 'percentage' | 'default';

/** OpenFeature's word for a rule; only those of the protocol's list, because some SDKs know no others. */
export type FlagReason = 'DISABLED' | 'TARGETING_MATCH' | 'SPLIT' | 'STATIC';

/** A flag made ready for many questions. */
export interface CompiledFlag {
  readonly name: string;
  readonly bucketPrefix: string;
  readonly revision: number;
  /** ISO time: with its name, which flag it is. */
  readonly createdAt: string;
  readonly enabled: boolean;
  /** null: no percentage, everybody. */
  readonly percentage: number | null;
  /** null: everywhere. */
  readonly environments: ReadonlySet<string> | null;
  readonly whitelist: UserSet;
  readonly blacklist: UserSet;
  readonly on: Variant;
  readonly off: Variant;
  readonly variants: ReadonlyMap<string, VariantValue>;
}

export interface Variant {
  readonly name: string;
  readonly value: VariantValue;
}

/** Who asks, and where. */
export interface FlagSubject {
  /** null: nobody knows; only rules that look at no user can answer then. */
  readonly userId: string | null;
  readonly environment: string;
}

/** A flag's answer. */
export interface Evaluation {
  readonly enabled: boolean;
  readonly rule: FlagRule;
  readonly reason: FlagReason;
  readonly variant: string;
  readonly value: VariantValue;
  /** The user's bucket, where the percentage decided and there is a user. */
  readonly bucket: number | null;
}

/** The answer depends on the user's bucket, and there is no user. */
export interface UserMissing {
  readonly rule: 'user-missing';
}

const BOOLEAN_ON: Variant = { name: 'on', value: true };
const BOOLEAN_OFF: Variant = { name: 'off', value: false };
const NO_VARIANTS: ReadonlyMap<string, VariantValue> = new Map<string, VariantValue>([
  ['on', true],
  ['off', false],
]);

/** Makes a flag ready: lists become sets, variants are looked up once. */
export function compileFlag({ flag, revision }: StoredFlag): CompiledFlag {
  return {
    name: flag.name,
    bucketPrefix: bucketPrefix(flag.name),
    revision,
    createdAt: flag.created_at,
    enabled: flag.enabled,
    percentage: flag.rollout_percentage,
    environments: flag.environments.length === 0 ? null : new Set(flag.environments),
    whitelist: userSet(flag.whitelist),
    blacklist: userSet(flag.blacklist),
    ...compileVariants(flag),
  };
}

function compileVariants({ variants }: FlagDocument): Pick<CompiledFlag, 'on' | 'off' | 'variants'> {
  if (variants === null) return { on: BOOLEAN_ON, off: BOOLEAN_OFF, variants: NO_VARIANTS };
  const values = new Map<string, VariantValue>(Object.entries(variants.values));
  const variant = (name: string): Variant => {
    const value = values.get(name);
    // The schema has looked, so this is a defect and no one's input.
    if (value === undefined) throw new Error(`The flag has no variant ${name}.`);
    return { name, value };
  };
  return { on: variant(variants.on), off: variant(variants.default), variants: values };
}

/**
 * A flag's answer for a user. Pure; the rules in their order: switched off, another environment, blacklist, whitelist,
 * percentage, and for a flag that has none of these, on.
 */
export function evaluateFlag(flag: CompiledFlag, subject: FlagSubject): Evaluation | UserMissing {
  if (!flag.enabled) return answer(flag, false, 'disabled');
  if (flag.environments !== null && !flag.environments.has(subject.environment)) {
    return answer(flag, false, 'environment');
  }
  const { userId } = subject;
  if (userId !== null) {
    if (flag.blacklist.has(userId)) return answer(flag, false, 'blacklist');
    if (flag.whitelist.has(userId)) return answer(flag, true, 'whitelist');
  }
  const { percentage } = flag;
  if (percentage === null) return answer(flag, true, 'default');
  if (userId === null) {
    // At 0 and 100 every bucket has the same answer.
    if (percentage === 0 || percentage === 100) return answer(flag, percentage === 100, 'percentage');
    return { rule: 'user-missing' };
  }
  const bucket = bucketAfter(flag.bucketPrefix, userId);
  return answer(flag, bucket < percentage, 'percentage', bucket);
}

function answer(flag: CompiledFlag, enabled: boolean, rule: FlagRule, bucket: number | null = null): Evaluation {
  const { name, value } = enabled ? flag.on : flag.off;
  return { enabled, rule, reason: REASONS[rule], variant: name, value, bucket };
}

const REASONS: Readonly<Record<FlagRule, FlagReason>> = {
  disabled: 'DISABLED',
  environment: 'DISABLED',
  blacklist: 'TARGETING_MATCH',
  whitelist: 'TARGETING_MATCH',
  percentage: 'SPLIT',
  default: 'STATIC',
};

/** One rule of an explanation. */
export interface ExplainedRule {
  readonly rule: FlagRule;
  /** Whether this rule decided. */
  readonly decided: boolean;
  /** One sentence. */
  readonly because: string;
}

/** The same answer with every rule that was asked, for people who wonder. */
export function explainFlag(flag: CompiledFlag, subject: FlagSubject): readonly ExplainedRule[] {
  const evaluation = evaluateFlag(flag, subject);
  const order: readonly FlagRule[] = ['disabled', 'environment', 'blacklist', 'whitelist', 'percentage', 'default'];
  const decisive = evaluation.rule === 'user-missing' ? 'percentage' : evaluation.rule;
  const asked = order.slice(0, order.indexOf(decisive) + 1);
  return asked
    .filter((rule) => rule === decisive || rule !== 'percentage')
    .map((rule) => ({ rule, decided: rule === decisive, because: because(rule, flag, { subject, evaluation }) }));
}

function because(
  rule: FlagRule,
  flag: CompiledFlag,
  { subject, evaluation }: { subject: FlagSubject; evaluation: Evaluation | UserMissing },
): string {
  const user = subject.userId === null ? 'No user is named' : JSON.stringify(subject.userId);
  switch (rule) {
    case 'disabled':
      return flag.enabled ? 'The flag is enabled.' : 'The flag is not enabled.';
    case 'environment':
      if (flag.environments === null) return 'The flag names no environments, so it counts in all.';
      return flag.environments.has(subject.environment)
        ? `${subject.environment} is one of the flag's environments.`
        : `${subject.environment} is not one of the flag's environments: ${[...flag.environments].join(', ')}.`;
    case 'blacklist':
    case 'whitelist':
      if (subject.userId === null) return `${user}, so the ${rule} is not asked.`;
      return flag[rule].has(subject.userId) ? `${user} is on the ${rule}.` : `${user} is not on the ${rule}.`;
    case 'percentage':
      if (evaluation.rule === 'user-missing') return `${user}, and without one there is no bucket to compare.`;
      if (evaluation.bucket === null) return `At ${flag.percentage} % every user has the same answer.`;
      return `Bucket ${evaluation.bucket} of ${user} is ${evaluation.enabled ? 'below' : 'not below'} the percentage ${flag.percentage}.`;
    case 'default':
      return 'The flag has no percentage, so it is on for everybody else.';
    default:
      return rule satisfies never;
  }
}
