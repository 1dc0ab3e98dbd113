import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { gatewayRefusal, gatewayStatus } from './gateway-status';
import { refOf } from './held-object';
import { isOneOf, ownRulesOf, rulesOriginOf } from './own-rules';
import type { RulesOrigin } from './own-rules';
import type { RouteShape, Services } from './route-shape';
import { isNothing, union } from './route-shape';
import { TrafficFailure } from './traffic-router';
import type { TrafficMatch } from './traffic-router';
import { hasStable, isCanaryAlone, pairOrigin, shareOf, split, takenBack, unsplit } from './weighted-pair';
import type { BackendAccess } from './weighted-pair';

type Backend = z.infer<typeof Backend>;
const Backend = z.looseObject({
  name: z.string(),
  group: z.string().optional(),
  kind: z.string().optional(),
  namespace: z.string().optional(),
  weight: z.number().optional(),
});

const HeaderMatch = z.looseObject({ name: z.string(), value: z.string(), type: z.string().optional() });

const Match = z.looseObject({ headers: z.array(HeaderMatch).optional() });

type Rule = z.infer<typeof Rule>;
const Rule = z.looseObject({ matches: z.array(Match).optional(), backendRefs: z.array(Backend).optional() });

const Route = z.looseObject({ spec: z.looseObject({ rules: z.array(Rule).optional() }) });

/** What the Gateway API allows. A copy has as many matches as its rule, so that a rule's own limit is never passed. */
const LIMITS = { rules: 16, matches: 128, headers: 16 } as const;

/**
 * Weights of an HTTPRoute or GRPCRoute of the Gateway API: every rule that sends to the stable Service gets the canary
 * Service beside it. A header match becomes a copy of each such rule with the header in all its matches; the Gateway API
 * prefers the match with more headers, wherever it stands.
 */
export function gatewayRouteShape(services: Services): RouteShape {
  const access = backendAccess(services);
  return {
    read(object, known) {
      const rules = rulesOf(object);
      const shares = rules
        .filter((rule) => splits(rule, access))
        .map((rule) => shareOf(rule.backendRefs ?? [], access));
      const given = shares.flatMap((share) => share ?? []);
      return {
        weight: given.length === 0 ? null : Math.max(...given),
        match: known.filter((match) => rules.some((rule) => isMatchRule(rule, access, [match]))),
      };
    },
    write(object, document, known) {
      const { weight, match } = document;
      const where = describeObject(refOf(object));
      const own = ownRules(object, access, known);
      const base = baseRules(rulesOf(object), access, { known: union(known, match), own });
      if (isNothing(document)) {
        // A rule of the user's own is his, and so is one for the canary alone that came meanwhile, as long as others lead
        // to stable; any other has lost stable to somebody.
        const isSplit = base.some((rule) => splits(rule, access));
        const isLeft = (rule: Rule): boolean =>
          !splits(rule, access) &&
          (own === null || isOneOf(rule, own) || (isSplit && isCanaryAlone(rule.backendRefs ?? [], access)));
        const rules = base.map((rule) =>
          isLeft(rule) ? rule : withBackends(rule, (backends) => takenBack(backends, access, where)),
        );
        return withRules(object, rules);
      }
      if (!base.some((rule) => splits(rule, access))) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} has no rule that sends to Service ${services.stable}, so there is nothing to split.`,
        );
      }
      // The same rule of the user's own does already.
      const matched = match
        .flatMap((one) => base.filter((rule) => splits(rule, access)).map((rule) => matchRule(rule, one, access)))
        .filter((rule) => !isOneOf(rule, own));
      const weighed = base.map((rule) =>
        splits(rule, access) ? withBackends(rule, (backends) => split(backends, access, weight, where)) : rule,
      );
      const rules = [...matched, ...weighed];
      const why = matched.length === 0 ? null : whyNoRoom(rules, matched);
      if (why !== null) throw new TrafficFailure('invalidRoute', `${where} ${why}`);
      return withRules(object, rules);
    },
    origin(object, known): RulesOrigin {
      const own = ownRules(object, access, known);
      const rules = baseRules(rulesOf(object), access, { known, own })
        .filter((rule) => splits(rule, access))
        .map((rule) => pairOrigin(rule.backendRefs ?? [], access));
      return { rules, own };
    },
    restore(object, origin, known) {
      const { rules: origins, own } = rulesOriginOf(origin);
      let index = -1;
      const rules = baseRules(rulesOf(object), access, { known, own }).map((rule) => {
        if (!splits(rule, access)) return rule;
        index += 1;
        // A rule that came later is one that we gave the canary ourselves.
        const before = origins[index] ?? { stable: 1, hadCanary: false };
        return { ...rule, backendRefs: unsplit(rule.backendRefs ?? [], access, before) };
      });
      return withRules(object, rules);
    },
    status: gatewayStatus,
    refusal: (object) =>
      gatewayRefusal(object, {
        canaryNamed: rulesOf(object).some((rule) =>
          (rule.backendRefs ?? []).some((backend) => access.trackOf(backend) === 'canary'),
        ),
      }),
  };
}

function backendAccess(services: Services): BackendAccess<Backend> {
  return {
    trackOf: ({ name, group, kind, namespace }) => {
      if ((group ?? '') !== '' || (kind ?? 'Service') !== 'Service') return null;
      if ((namespace ?? services.namespace) !== services.namespace) return null;
      return name === services.stable ? 'stable' : name === services.canary ? 'canary' : null;
    },
    weightOf: ({ weight }) => weight ?? 1,
    weighted: (backend, weight) => ({ ...backend, weight }),
    isWeighted: ({ weight }) => weight !== undefined,
    unweighted: ({ weight: _weight, ...backend }) => backend,
    toCanary: (stable) => ({ ...stable, name: services.canary }),
    toStable: (canary) => ({ ...canary, name: services.stable }),
    describe: ({ kind, name }) => `${kind ?? 'Service'} ${name}`,
  };
}

function splits(rule: Rule, access: BackendAccess<Backend>): boolean {
  return hasStable(rule.backendRefs ?? [], access);
}

/** A rule without any backends (a redirect, say) is left without. */
function withBackends(rule: Rule, change: (backends: readonly Backend[]) => readonly Backend[]): Rule {
  return rule.backendRefs === undefined ? rule : { ...rule, backendRefs: [...change(rule.backendRefs)] };
}

/** All but those that a release has put there for its matches. */
function baseRules(
  rules: readonly Rule[],
  access: BackendAccess<Backend>,
  { known, own }: { readonly known: readonly TrafficMatch[]; readonly own: RulesOrigin['own'] },
): Rule[] {
  return rules.filter((rule) => !isMatchRule(rule, access, known) || isOneOf(rule, own));
}

function ownRules(
  object: TrafficObject,
  access: BackendAccess<Backend>,
  known: readonly TrafficMatch[],
): RulesOrigin['own'] {
  return ownRulesOf(object, rulesOf(object), {
    access,
    backendsOf: (rule) => rule.backendRefs ?? [],
    isOurs: (rule) => isMatchRule(rule, access, known),
  });
}

/** A rule for the canary alone, all of whose matches ask for a header that we route by: one of ours. */
function isMatchRule(rule: Rule, access: BackendAccess<Backend>, known: readonly TrafficMatch[]): boolean {
  if (!isCanaryAlone(rule.backendRefs ?? [], access)) return false;
  const matches = rule.matches ?? [];
  return known.some((one) => matches.length > 0 && matches.every((match) => asksFor(match, one)));
}

function asksFor(match: z.infer<typeof Match>, { kind, name, ...rest }: TrafficMatch): boolean {
  const value = 'value' in rest ? rest.value : null;
  return (
    kind === 'header' &&
    (match.headers ?? []).some((header) => header.name.toLowerCase() === name.toLowerCase() && header.value === value)
  );
}

function matchRule(rule: Rule, match: TrafficMatch, access: BackendAccess<Backend>): Rule {
  // Names of rules are unique, and the user's is the user's.
  const { name: _name, ...copy } = rule;
  const value = match.kind === 'header' ? (match.value ?? '') : '';
  const matches = rule.matches === undefined || rule.matches.length === 0 ? [{}] : rule.matches;
  const header = { type: 'Exact', name: match.name, value };
  return {
    ...copy,
    matches: matches.map((each) => ({
      ...each,
      headers: [
        ...(each.headers ?? []).filter((other) => other.name.toLowerCase() !== match.name.toLowerCase()),
        header,
      ],
    })),
    backendRefs: (rule.backendRefs ?? [])
      .filter((backend) => access.trackOf(backend) === 'stable')
      .map((backend) => access.weighted(access.toCanary(backend), 1)),
  };
}

/** Why the API server would not take the rules with those that were added for matches; null where it does. */
function whyNoRoom(rules: readonly Rule[], added: readonly Rule[]): string | null {
  const matchesOf = (some: readonly Rule[]): number =>
    some.reduce((sum, { matches = [] }) => sum + Math.max(1, matches.length), 0);
  const headers = Math.max(0, ...added.flatMap(({ matches = [] }) => matches.map((one) => one.headers?.length ?? 0)));
  const advice = 'leave out a match step, or move some of its rules to a route of their own';
  if (rules.length > LIMITS.rules) {
    return `has no room for the match steps of the release: a header takes a copy of each rule that leads to stable, which makes ${rules.length} rules, and the Gateway API allows ${LIMITS.rules}; ${advice}.`;
  }
  if (matchesOf(rules) > LIMITS.matches) {
    return `has no room for the match steps of the release: a header takes a copy of each rule that leads to stable, which makes ${matchesOf(rules)} matches in all, and the Gateway API allows ${LIMITS.matches}; ${advice}.`;
  }
  if (headers > LIMITS.headers) {
    return `has no room for the match steps of the release: a header more makes ${headers} in one match, and the Gateway API allows ${LIMITS.headers}; leave out the match step, or take a header out of that match.`;
  }
  return null;
}

function rulesOf(object: TrafficObject): readonly Rule[] {
  const route = Route.safeParse(object);
  if (!route.success) {
    throw new TrafficFailure('invalidRoute', `${describeObject(refOf(object))} is not made as the Gateway API says.`);
  }
  return route.data.spec.rules ?? [];
}

function withRules(object: TrafficObject, rules: readonly Rule[]): TrafficObject {
  if (rules.length === 0 && rulesOf(object).length === 0) return object;
  return { ...object, spec: { ...(object['spec'] as object), rules } };
}
