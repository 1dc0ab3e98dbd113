import { z } from 'zod';
import type { TrafficObject } from './cluster-access';
import { heldOn } from './held-object';
import { diff } from './json-patch';
import { hasCanary, hasStable } from './weighted-pair';
import type { BackendAccess, PairOrigin } from './weighted-pair';

/** What the rules of an object were like before the release. */
export interface RulesOrigin {
  /** One for each rule that leads to stable, in their order. */
  readonly rules: readonly PairOrigin[];
  /**
   * Rules that led to the canary already, and not to stable: the user's own, whatever they ask for. Null where that was
   * not noted.
   */
  readonly own: readonly unknown[] | null;
}

const Pairs = z.array(z.object({ stable: z.number().nullable(), hadCanary: z.boolean() }));

const Origin: z.ZodType<RulesOrigin> = z.union([
  z.object({ rules: Pairs, own: z.array(z.unknown()) }),
  // Of a release that began before these were noted.
  Pairs.transform((rules) => ({ rules, own: null })),
]);

export function rulesOriginOf(origin: unknown): RulesOrigin {
  return Origin.safeParse(origin).data ?? { rules: [], own: null };
}

/**
 * The user's own rules for the canary alone: as the release has noted them, and before its first write all that there
 * are. `isOurs` says which may be left of a release whose notes somebody has taken away.
 */
export function ownRulesOf<Rule, Backend>(
  object: TrafficObject,
  rules: readonly Rule[],
  by: {
    readonly access: BackendAccess<Backend>;
    backendsOf(rule: Rule): readonly Backend[];
    isOurs(rule: Rule): boolean;
  },
): readonly unknown[] | null {
  const held = heldOn(object);
  if (held !== null) return rulesOriginOf(held.origin).own;
  return rules.filter((rule) => {
    const backends = by.backendsOf(rule);
    return hasCanary(backends, by.access) && !hasStable(backends, by.access) && !by.isOurs(rule);
  });
}

/** True for a rule that is noted as the user's own. */
export function isOneOf(rule: unknown, own: RulesOrigin['own']): boolean {
  return (own ?? []).some((one) => diff(one, rule).length === 0);
}
