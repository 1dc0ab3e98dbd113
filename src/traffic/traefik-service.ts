import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { refOf } from './held-object';
import type { RouteShape, Services } from './route-shape';
import { TrafficFailure } from './traffic-router';
import { hasStable, pairOrigin, shareOf, split, unsplit } from './weighted-pair';
import type { BackendAccess } from './weighted-pair';

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

const Origin = z.object({ stable: z.number(), hadCanary: z.boolean() });

/** Weights of a Traefik TraefikService of the kind `weighted`. Traefik reports nothing about it: it is only read back. */
export function traefikServiceShape(services: Services): RouteShape {
  const access = backendAccess(services);
  return {
    read: (object) => ({ weight: shareOf(backendsOf(object), access), match: [] }),
    write(object, { weight }) {
      const backends = backendsOf(object);
      const where = describeObject(refOf(object));
      if (!hasStable(backends, access)) {
        throw new TrafficFailure(
          'invalidRoute',
          `${where} has no weighted Service ${services.stable}, so there is nothing to split.`,
        );
      }
      return withBackends(object, split(backends, access, weight, where));
    },
    origin: (object) => pairOrigin(backendsOf(object), access),
    restore(object, origin) {
      const before = Origin.safeParse(origin).data ?? { stable: 1, hadCanary: false };
      return withBackends(object, unsplit(backendsOf(object), access, before));
    },
    status: (object) => ({
      kind: 'confirmed',
      evidence: [`${describeObject(refOf(object))} says so; Traefik reports nothing about it`],
    }),
  };
}

function backendAccess(services: Services): BackendAccess<Backend> {
  return {
    trackOf: ({ name, namespace, kind }) => {
      if ((kind ?? 'Service') !== 'Service' || (namespace ?? services.namespace) !== services.namespace) return null;
      return name === services.stable ? 'stable' : name === services.canary ? 'canary' : null;
    },
    weightOf: ({ weight }) => weight ?? 1,
    weighted: (backend, weight) => ({ ...backend, weight }),
    toCanary: (stable) => ({ ...stable, name: services.canary }),
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
  const spec = object['spec'] as { readonly weighted?: object };
  return { ...object, spec: { ...spec, weighted: { ...spec.weighted, services } } };
}
