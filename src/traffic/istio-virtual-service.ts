import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { refOf } from './held-object';
import { isOneOf, ownRulesOf, rulesOriginOf } from './own-rules';
import type { RulesOrigin } from './own-rules';
import type { RouteShape, Services } from './route-shape';
import { isNothing, union } from './route-shape';
import { TrafficFailure } from './traffic-router';
import type { TrafficMatch } from './traffic-router';
import { hasStable, isCanaryAlone, pairOrigin, shareOf, split, takenBack, unsplit } from './weighted-pair';
import type { BackendAccess } from './weighted-pair';

type Destination = z.infer<typeof Destination>;
const Destination = z.looseObject({
  destination: z.looseObject({ host: z.string(), subset: z.string().optional() }),
  weight: z.number().optional(),
});

const StringMatch = z.looseObject({ exact: z.string().optional(), regex: z.string().optional() });

const Match = z.looseObject({ headers: z.record(z.string(), StringMatch).optional() });

type Rule = z.infer<typeof Rule>;
const Rule = z.looseObject({ match: z.array(Match).optional(), route: z.array(Destination).optional() });

/** What is led on without a look inside: there is nothing in it to take a share of requests from. */
const OpaqueRule = z.looseObject({ route: z.array(Destination).optional() });

const VirtualService = z.looseObject({
  // Istio's own definition does not ask for one.
  spec: z
    .looseObject({
      http: z.array(Rule).optional(),
      tls: z.array(OpaqueRule).optional(),
      tcp: z.array(OpaqueRule).optional(),
    })
    .default({}),
});

const Status = z.looseObject({
  status: z.looseObject({
    // Istio's API writes 64-bit numbers as text.
    observedGeneration: z.union([z.number(), z.string()]).optional(),
    conditions: z
      .array(z.looseObject({ type: z.string(), status: z.string(), message: z.string().optional() }))
      .optional(),
  }),
});

/**
 * Route weights of an Istio VirtualService: every http rule that goes to the stable host gets the canary host beside it.
 * A match becomes a copy of each such rule right before it, since Istio takes the first rule that fits.
 */
export function virtualServiceShape(services: Services): RouteShape {
  const access = destinationAccess(services);
  return {
    read(object, known) {
      const rules = rulesOf(object);
      const given = rules
        .filter((rule) => hasStable(rule.route ?? [], access))
        .flatMap((rule) => shareOf(rule.route ?? [], access) ?? []);
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
        const isSplit = base.some((rule) => hasStable(rule.route ?? [], access));
        const isLeft = ({ route = [] }: Rule): boolean =>
          !hasStable(route, access) && isSplit && isCanaryAlone(route, access);
        const isOwn = (rule: Rule): boolean =>
          !hasStable(rule.route ?? [], access) && (own === null || isOneOf(rule, own));
        const rules = base.map((rule) =>
          rule.route === undefined || isOwn(rule) || isLeft(rule)
            ? rule
            : { ...rule, route: takenBack(rule.route, access, where) },
        );
        return withRules(object, rules);
      }
      if (!base.some((rule) => hasStable(rule.route ?? [], access))) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} has no http rule that goes to host ${services.stable}, so there is nothing to split.`,
        );
      }
      const opaque = opaqueWayToStable(object, access);
      if (opaque !== null) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} also leads to host ${services.stable} by a ${opaque} rule, which stays with the stable version at any weight; give that a VirtualService of its own, or a Service of another name.`,
        );
      }
      const rules = base.flatMap((rule) => {
        const route = rule.route ?? [];
        if (!hasStable(route, access)) return [rule];
        // The same rule of the user's own does already.
        const matched = match.map((one) => matchRule(rule, one, access)).filter((one) => !isOneOf(one, own));
        return [...matched, { ...rule, route: split(route, access, weight, where) }];
      });
      return withRules(object, rules);
    },
    origin(object, known): RulesOrigin {
      const own = ownRules(object, access, known);
      const rules = baseRules(rulesOf(object), access, { known, own })
        .filter((rule) => hasStable(rule.route ?? [], access))
        .map((rule) => pairOrigin(rule.route ?? [], access));
      return { rules, own };
    },
    restore(object, origin, known) {
      const { rules: origins, own } = rulesOriginOf(origin);
      let index = -1;
      const rules = baseRules(rulesOf(object), access, { known, own }).map((rule) => {
        const route = rule.route ?? [];
        if (!hasStable(route, access)) return rule;
        index += 1;
        return { ...rule, route: unsplit(route, access, origins[index] ?? { stable: 100, hadCanary: false }) };
      });
      return withRules(object, rules);
    },
    status: statusOf,
  };
}

function destinationAccess(services: Services): BackendAccess<Destination> {
  return {
    trackOf: ({ destination }) =>
      isHost(destination.host, services.stable, services.namespace)
        ? 'stable'
        : isHost(destination.host, services.canary, services.namespace)
          ? 'canary'
          : null,
    // One destination alone gets everything and says nothing; among several, none stands for 0.
    weightOf: ({ weight }, siblings) => weight ?? (siblings === 1 ? 100 : 0),
    weighted: (destination, weight) => ({ ...destination, weight }),
    isWeighted: ({ weight }) => weight !== undefined,
    unweighted: ({ weight: _weight, ...destination }) => destination,
    toCanary: (stable) => {
      // Subsets are made by labels of stable's pods; the canary has a Service of its own.
      const { subset: _subset, ...destination } = stable.destination;
      const rest = destination.host.slice(services.stable.length);
      return { ...stable, destination: { ...destination, host: `${services.canary}${rest}` } };
    },
    toStable: (canary) => {
      const { destination } = canary;
      const rest = destination.host.slice(services.canary.length);
      return { ...canary, destination: { ...destination, host: `${services.stable}${rest}` } };
    },
    describe: ({ destination }) => `host ${destination.host}`,
  };
}

/** Short, with the namespace, or whole; the cluster's own domain may be any. */
function isHost(host: string, service: string, namespace: string): boolean {
  return (
    host === service ||
    host === `${service}.${namespace}` ||
    host === `${service}.${namespace}.svc` ||
    host.startsWith(`${service}.${namespace}.svc.`)
  );
}

/** All but those that a release has put there for its matches. */
function baseRules(
  rules: readonly Rule[],
  access: BackendAccess<Destination>,
  { known, own }: { readonly known: readonly TrafficMatch[]; readonly own: RulesOrigin['own'] },
): Rule[] {
  return rules.filter((rule) => !isMatchRule(rule, access, known) || isOneOf(rule, own));
}

function ownRules(
  object: TrafficObject,
  access: BackendAccess<Destination>,
  known: readonly TrafficMatch[],
): RulesOrigin['own'] {
  return ownRulesOf(object, rulesOf(object), {
    access,
    backendsOf: (rule) => rule.route ?? [],
    isOurs: (rule) => isMatchRule(rule, access, known),
  });
}

function isMatchRule(rule: Rule, access: BackendAccess<Destination>, known: readonly TrafficMatch[]): boolean {
  if (!isCanaryAlone(rule.route ?? [], access)) return false;
  const matches = rule.match ?? [];
  return known.some((one) => {
    const [name, wanted] = headerOf(one);
    return (
      matches.length > 0 &&
      matches.every(({ headers = {} }) => {
        const found = headers[name];
        return found !== undefined && found.exact === wanted.exact && found.regex === wanted.regex;
      })
    );
  });
}

function matchRule(rule: Rule, match: TrafficMatch, access: BackendAccess<Destination>): Rule {
  const { name: _name, ...copy } = rule;
  const [name, value] = headerOf(match);
  const matches = rule.match === undefined || rule.match.length === 0 ? [{}] : rule.match;
  return {
    ...copy,
    match: matches.map((each) => ({ ...each, headers: { ...each.headers, [name]: value } })),
    route: (rule.route ?? [])
      .filter((destination) => access.trackOf(destination) === 'stable')
      .map((destination) => access.weighted(access.toCanary(destination), 100)),
  };
}

/** Istio wants header names in lower case, and knows cookies only as the header that carries them. */
function headerOf(match: TrafficMatch): [string, z.infer<typeof StringMatch>] {
  if (match.kind === 'header') return [match.name.toLowerCase(), { exact: match.value ?? '' }];
  const name = match.name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
  return ['cookie', { regex: `^(.*;\\s*)?${name}=always(;.*)?$` }];
}

/** The kind of rule beside http that leads to stable; null for none. */
function opaqueWayToStable(object: TrafficObject, access: BackendAccess<Destination>): 'tls' | 'tcp' | null {
  const spec = specOf(object);
  const leads = (kind: 'tls' | 'tcp'): boolean =>
    (spec[kind] ?? []).some((rule) => hasStable(rule.route ?? [], access));
  return (['tls', 'tcp'] as const).find(leads) ?? null;
}

function rulesOf(object: TrafficObject): readonly Rule[] {
  return specOf(object).http ?? [];
}

function specOf(object: TrafficObject): z.infer<typeof VirtualService>['spec'] {
  const parsed = VirtualService.safeParse(object);
  if (!parsed.success) {
    throw new TrafficFailure('invalidRoute', `${describeObject(refOf(object))} is not made as Istio says.`);
  }
  return parsed.data.spec;
}

function withRules(object: TrafficObject, http: readonly Rule[]): TrafficObject {
  // One without http rules is left without.
  if (http.length === 0 && rulesOf(object).length === 0) return object;
  return { ...object, spec: { ...(object['spec'] as object), http } };
}

/** Istio writes a status only where that is switched on; where it is, it counts. */
function statusOf(object: TrafficObject): ReturnType<RouteShape['status']> {
  const where = describeObject(refOf(object));
  const silent = `${where} says so; Istio reports nothing about it`;
  const { observedGeneration, conditions = [] } = Status.safeParse(object).data?.status ?? {};
  const generation = object.metadata.generation ?? 0;
  if (observedGeneration !== undefined && Number(observedGeneration) < generation) {
    return { kind: 'pending', reasons: [`Istio has not seen generation ${generation} of ${where} yet.`] };
  }
  const reconciled = conditions.find((one) => one.type === 'Reconciled');
  if (reconciled === undefined) return { kind: 'confirmed', evidence: [silent] };
  return reconciled.status === 'True'
    ? { kind: 'confirmed', evidence: [`Istio: Reconciled for ${where}`] }
    : { kind: 'pending', reasons: [`Istio has not brought ${where} to every proxy yet.`] };
}
