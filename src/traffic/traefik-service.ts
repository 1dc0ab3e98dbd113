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

const Weighted = z.looseObject({
  spec: z.looseObject({ weighted: z.looseObject({ services: z.array(Backend).optional() }).optional() }),
});

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
    read: (object) => ({ weight: shareOf(backendsOf(object), access), match: [] }),
    write(object, document) {
      const { weight } = document;
      const backends = backendsOf(object);
      const where = describeObject(refOf(object));
      const back = isNothing(document);
      if (!back && !hasStable(backends, access)) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} has no weighted Service ${services.stable}, so there is nothing to split.`,
        );
      }
      const divided = back ? takenBack(backends, access, where) : split(backends, access, weight, where);
      const ours = !(originOf(heldOn(object)?.origin) ?? pairOrigin(backends, access)).hadCanary;
      const named = weight === 0 && ours ? divided.filter((backend) => access.trackOf(backend) !== 'canary') : divided;
      return withBackends(object, named);
    },
    origin: (object) => pairOrigin(backendsOf(object), access),
    restore(object, origin) {
      const before = originOf(origin) ?? { stable: 1, hadCanary: false };
      return withBackends(object, unsplit(backendsOf(object), access, before));
    },
    needsPods(object) {
      const backends = backendsOf(object);
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

function backendsOf(object: TrafficObject): readonly Backend[] {
  const parsed = Weighted.safeParse(object);
  if (!parsed.success || parsed.data.spec.weighted === undefined) {
    throw new TrafficFailure('invalidRoute', `${describeObject(refOf(object))} is not a weighted one.`);
  }
  return parsed.data.spec.weighted.services ?? [];
}

function withBackends(object: TrafficObject, services: readonly Backend[]): TrafficObject {
  const spec = object['spec'] as { readonly weighted?: { readonly services?: unknown } };
  if (services.length === 0 && spec.weighted?.services === undefined) return object;
  return { ...object, spec: { ...spec, weighted: { ...spec.weighted, services } } };
}
