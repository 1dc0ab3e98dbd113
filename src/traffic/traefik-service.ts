import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { heldOn, refOf } from './held-object';
import type { RouteShape, Services } from './route-shape';
import { isNothing } from './route-shape';
import { TrafficFailure } from './traffic-router';
import { hasStable, pairOrigin, shareOf, split, takenBack, unsplit } from './weighted-pair';
import type { BackendAccess, PairOrigin } from './weighted-pair';

type Backend = z.infer<typeof Backend>;
const Backend = z.looseObject({
  name: z.string(),
  namespace: z.string().optional(),
  kind: z.string().optional(),
  weight: z.number().optional(),
});

const Shared = z.looseObject({ services: z.array(Backend).optional() });

const Spec = z.looseObject({
  weighted: Shared.optional(),
  highestRandomWeight: Shared.optional(),
  mirroring: Backend.extend({ mirrors: z.array(Backend).optional() }).optional(),
});

/** Those that share by weights. A release writes to the first; what goes to the canary by the other is taken back, too. */
const SHARING = ['weighted', 'highestRandomWeight'] as const;

const Origin = z.object({ stable: z.number().nullable(), hadCanary: z.boolean() });

/**
 * Weights of a Traefik TraefikService of the kind `weighted`. Traefik reports nothing about it: it is only read back.
 *
 * Unless it is told to allow empty services, Traefik drops a TraefikService whole, for everybody, when one of its services
 * has no ready pods, whatever that one's weight. So a canary that the release adds is named only while it has a share; and
 * one that the user names keeps the pods that it had before the release.
 */
export function traefikServiceShape(services: Services): RouteShape {
  const access = backendAccess(services);
  return {
    read(object) {
      const { weighted, mirroring, highestRandomWeight } = specOf(object);
      // Whom it is mirrored to answers nobody.
      const answering = weighted ?? highestRandomWeight ?? { services: mirroring === undefined ? [] : [mirroring] };
      return { weight: shareOf(answering.services ?? [], access), match: [] };
    },
    write(object, document) {
      const { weight } = document;
      const where = describeObject(refOf(object));
      if (isNothing(document))
        return freed(object, originOf(heldOn(object)?.origin) ?? originIn(object, access), access);
      const backends = backendsOf(object);
      if (backends === null) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} ${describeKind(object)}, and only one of the kind weighted splits traffic; give it spec.weighted with Service ${services.stable}.`,
        );
      }
      if (!hasStable(backends, access)) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} has no weighted Service ${services.stable}, so there is nothing to split.`,
        );
      }
      const ours = !(originOf(heldOn(object)?.origin) ?? pairOrigin(backends, access)).hadCanary;
      const divided = split(backends, access, weight, where);
      return withBackends(object, weight === 0 && ours ? withoutName(divided, access) : divided);
    },
    origin: (object) => originIn(object, access),
    restore(object, origin) {
      const before = originOf(origin) ?? { stable: 1, hadCanary: false };
      const backends = backendsOf(object);
      return backends === null
        ? freed(object, before, access)
        : withBackends(object, unsplit(backends, access, before));
    },
    needsPods(object) {
      const backends = backendsOf(object) ?? [];
      return shareOf(backends, access) === 0 && backends.some((backend) => access.trackOf(backend) === 'canary');
    },
    status: (object) => ({
      kind: 'confirmed',
      evidence: [`${describeObject(refOf(object))} says so; Traefik reports nothing about it`],
    }),
  };
}

function originOf(origin: unknown): PairOrigin | null {
  return Origin.safeParse(origin).data ?? null;
}

function backendAccess(services: Services): BackendAccess<Backend> {
  return {
    trackOf: ({ name, namespace, kind }) => {
      if ((kind ?? 'Service') !== 'Service' || (namespace ?? services.namespace) !== services.namespace) return null;
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

/**
 * All that goes to the canary goes to stable, whatever kind somebody has made of it meanwhile. A mirror is taken out: stable
 * has what is mirrored already, and without the canary's pods Traefik would drop it for everybody.
 */
function freed(object: TrafficObject, { hadCanary }: PairOrigin, access: BackendAccess<Backend>): TrafficObject {
  const where = describeObject(refOf(object));
  const spec = specOf(object);
  const changed: Record<string, unknown> = {};
  for (const kind of SHARING) {
    const { services } = spec[kind] ?? {};
    if (services === undefined) continue;
    const back = takenBack(services, access, where);
    changed[kind] = { ...spec[kind], services: hadCanary ? back : withoutName(back, access) };
  }
  if (spec.mirroring !== undefined) {
    const { mirrors, ...main } = spec.mirroring;
    const others = mirrors === undefined ? {} : { mirrors: withoutName(mirrors, access) };
    changed['mirroring'] = { ...(access.trackOf(main) === 'canary' ? access.toStable(main) : main), ...others };
  }
  return { ...object, spec: { ...(object['spec'] as object), ...changed } };
}

function withoutName(backends: readonly Backend[], access: BackendAccess<Backend>): Backend[] {
  return backends.filter((backend) => access.trackOf(backend) !== 'canary');
}

function originIn(object: TrafficObject, access: BackendAccess<Backend>): PairOrigin {
  return pairOrigin(backendsOf(object) ?? [], access);
}

/** Null for one of another kind than `weighted`. */
function backendsOf(object: TrafficObject): readonly Backend[] | null {
  const { weighted } = specOf(object);
  return weighted === undefined ? null : (weighted.services ?? []);
}

function specOf(object: TrafficObject): z.infer<typeof Spec> {
  const parsed = Spec.safeParse(object['spec'] ?? {});
  if (!parsed.success) {
    throw new TrafficFailure('invalidRoute', `${describeObject(refOf(object))} is not made as Traefik says.`);
  }
  return parsed.data;
}

function describeKind(object: TrafficObject): string {
  const [kind] = Object.keys(specOf(object));
  return kind === undefined ? 'is of no kind' : `is of the kind ${kind}`;
}

function withBackends(object: TrafficObject, services: readonly Backend[]): TrafficObject {
  const spec = object['spec'] as { readonly weighted?: { readonly services?: unknown } };
  if (services.length === 0 && spec.weighted?.services === undefined) return object;
  return { ...object, spec: { ...spec, weighted: { ...spec.weighted, services } } };
}
