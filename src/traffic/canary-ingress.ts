import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { annotate } from './fence';
import { refOf } from './held-object';
import type { Reading, Services } from './route-shape';
import { TrafficFailure } from './traffic-router';
import type { TrafficDocument, TrafficMatch } from './traffic-router';

const PREFIX = 'nginx.ingress.kubernetes.io/';
const CANARY = `${PREFIX}canary`;
const AFFINITY = `${PREFIX}affinity`;
const CLASS = 'kubernetes.io/ingress.class';
/** In one sentence. */
const PLACES_SHOWN = 3;

/** Says that an object was made by a release and goes with it. */
export const MANAGED_BY = { name: 'app.kubernetes.io/managed-by', value: 'sluice' } as const;

const Backend = z.looseObject({ service: z.looseObject({ name: z.string() }).optional() });

const IngressSpec = z.looseObject({
  ingressClassName: z.string().optional(),
  defaultBackend: Backend.optional(),
  tls: z.array(z.unknown()).optional(),
  rules: z
    .array(
      z.looseObject({
        host: z.string().optional(),
        http: z
          .looseObject({ paths: z.array(z.looseObject({ path: z.string().optional(), backend: Backend })) })
          .optional(),
      }),
    )
    .optional(),
});

export function canaryNameOf(ingress: string): string {
  return `${ingress}-canary`;
}

/** True for a canary Ingress that a release made, and not one that the user keeps. */
export function isMadeByUs(ingress: TrafficObject): boolean {
  return ingress.metadata.labels?.[MANAGED_BY.name] === MANAGED_BY.value;
}

export function isCanary(ingress: TrafficObject): boolean {
  return ingress.metadata.annotations?.[CANARY] === 'true';
}

/**
 * The spec of the canary twin: the same class, TLS and rules, with the canary Service in place of the stable one. Paths
 * that go elsewhere are left out: they have no canary.
 *
 * @throws TrafficFailure `invalidRoute` for one of which `whyUnshared` says why.
 */
export function canarySpec(primary: TrafficObject, services: Services): Readonly<Record<string, unknown>> {
  const parsed = IngressSpec.safeParse(primary['spec']);
  const { ingressClassName, tls, rules = [] } = parsed.data ?? {};
  const ours = rules.flatMap((rule) => {
    const paths = (rule.http?.paths ?? []).flatMap((path) =>
      path.backend.service?.name === services.stable
        ? [{ ...path, backend: { ...path.backend, service: { ...path.backend.service, name: services.canary } } }]
        : [],
    );
    return paths.length === 0 ? [] : [{ ...rule, http: { ...rule.http, paths } }];
  });
  const why = whyUnshared(primary, services);
  if (why !== null) throw new TrafficFailure('invalidRoute', why);
  return {
    ...(ingressClassName === undefined ? {} : { ingressClassName }),
    ...(tls === undefined ? {} : { tls }),
    rules: ours,
  };
}

/**
 * Why no twin of an Ingress would share all that goes to the stable Service, a sentence; null where one does. NGINX splits
 * what rules lead to, and has no canary for what fits none of them.
 */
export function whyUnshared(primary: TrafficObject, { stable }: Services): string | null {
  const where = describeObject(refOf(primary));
  if (placesThatLeadTo(stable, primary).length === 0) {
    return `${where} has no path that goes to Service ${stable}, so there is nothing to split.`;
  }
  const { defaultBackend } = IngressSpec.safeParse(primary['spec']).data ?? {};
  if (defaultBackend?.service?.name !== stable) return null;
  return `${where} sends what fits none of its rules to Service ${stable} by its defaultBackend, where nobody would ever meet the canary; give it a rule with the path / in place of that.`;
}

/**
 * Why a canary Ingress of the user's own does not share what the primary has, one sentence; null when all of its paths lead
 * to the canary and it has all of those that lead to stable. One that a release made is put right instead.
 */
export function strayFrom(primary: TrafficObject, canary: TrafficObject, services: Services): string | null {
  if (isMadeByUs(canary)) return null;
  const own = `${describeObject(refOf(canary))} is a canary Ingress of your own and`;
  const { rules = [], defaultBackend } = IngressSpec.safeParse(canary['spec']).data ?? {};
  const paths = rules.flatMap((rule) => rule.http?.paths ?? []).map((path) => path.backend);
  const backends = defaultBackend === undefined ? paths : [...paths, defaultBackend];
  const others = backends.flatMap(({ service }) =>
    service?.name === services.canary ? [] : [service === undefined ? 'what is no Service' : `Service ${service.name}`],
  );
  if (backends.length === 0 || others.length > 0) {
    return `${own} leads to ${[...new Set(others)].join(' and ') || 'nothing'}, so that its share would not be the canary's; let all of its paths lead to Service ${services.canary}, or delete it, and the release makes one.`;
  }
  const shared = new Set(placesThatLeadTo(services.canary, canary));
  const lacking = placesThatLeadTo(services.stable, primary).filter((place) => !shared.has(place));
  if (lacking.length === 0) return null;
  return `${own} lacks ${lacking.slice(0, PLACES_SHOWN).join(', ')} of ${describeObject(refOf(primary))}, where nobody would ever meet the canary; give it all of the hosts and paths that lead to Service ${services.stable}, or delete it, and the release makes one.`;
}

/** Host and path, as they stand in the rules. */
function placesThatLeadTo(service: string, ingress: TrafficObject): string[] {
  const { rules = [] } = IngressSpec.safeParse(ingress['spec']).data ?? {};
  return rules.flatMap(({ host = '*', http }) =>
    (http?.paths ?? []).flatMap(({ path = '/', backend }) =>
      backend.service?.name === service ? [`${host}${path}`] : [],
    ),
  );
}

/** A new canary twin, without its routing. */
export function newCanary(primary: TrafficObject, services: Services): TrafficObject {
  const { name, namespace } = primary.metadata;
  return {
    apiVersion: primary.apiVersion,
    kind: primary.kind,
    metadata: {
      name: canaryNameOf(name),
      ...(namespace === undefined ? {} : { namespace }),
      labels: { [MANAGED_BY.name]: MANAGED_BY.value },
      annotations: inherited(primary),
    },
    spec: canarySpec(primary, services),
  };
}

/**
 * What of the primary's annotations holds for the canary, too: how NGINX treats the backend. Not those of others, for
 * whom the twin would be one more thing to care for: certificates, DNS names, a GitOps tool's own object.
 */
function inherited(primary: TrafficObject): Readonly<Record<string, string>> {
  const entries = Object.entries(primary.metadata.annotations ?? {}).filter(
    ([name]) => name === CLASS || (name.startsWith(PREFIX) && !name.startsWith(CANARY)),
  );
  // By itself NGINX keeps whoever has a session on the track that he is on, whatever the weight: at 0 % on the canary, too.
  const affinity =
    primary.metadata.annotations?.[AFFINITY] === undefined ? {} : { [`${AFFINITY}-canary-behavior`]: 'legacy' };
  return { ...Object.fromEntries(entries), ...affinity };
}

/** The canary's annotations for a document; at most one header and one cookie fit. */
export function withRouting(canary: TrafficObject, { weight, match }: TrafficDocument): TrafficObject {
  const headers = match.filter((one) => one.kind === 'header');
  const cookies = match.filter((one) => one.kind === 'cookie');
  if (headers.length > 1 || cookies.length > 1) {
    throw new TrafficFailure('unsupported', 'NGINX routes by at most one header and one cookie to the canary.');
  }
  return annotate(canary, {
    [CANARY]: 'true',
    [`${CANARY}-weight`]: String(weight),
    // A total that somebody else set would give the weight another meaning.
    [`${CANARY}-weight-total`]: null,
    [`${CANARY}-by-header`]: headers[0]?.name ?? null,
    [`${CANARY}-by-header-value`]: headers[0]?.value ?? null,
    [`${CANARY}-by-header-pattern`]: null,
    [`${CANARY}-by-cookie`]: cookies[0]?.name ?? null,
  });
}

/** What the canary's annotations say. NGINX takes a missing weight for 0. */
export function readRouting(canary: TrafficObject): Reading {
  const annotations = canary.metadata.annotations ?? {};
  const weight = Number(annotations[`${CANARY}-weight`] ?? '0');
  const total = Number(annotations[`${CANARY}-weight-total`] ?? '100');
  const header = annotations[`${CANARY}-by-header`];
  const cookie = annotations[`${CANARY}-by-cookie`];
  const match: TrafficMatch[] = [
    ...(header === undefined
      ? []
      : [{ kind: 'header' as const, name: header, value: annotations[`${CANARY}-by-header-value`] ?? null }]),
    ...(cookie === undefined ? [] : [{ kind: 'cookie' as const, name: cookie }]),
  ];
  if (!isCanary(canary)) return { weight: null, match };
  return { weight: weight >= 0 && total > 0 ? (100 * weight) / total : null, match };
}
