import { z } from 'zod';
import { describeObject } from './cluster-access';
import { refOf } from './held-object';
import type { RouteShape } from './route-shape';
import { TrafficFailure } from './traffic-router';

/** Labels that a Service picks its pods by. */
export type Selector = Readonly<Record<string, string>>;

const Service = z.looseObject({ spec: z.looseObject({ selector: z.record(z.string(), z.string()).optional() }) });

/**
 * A Service whose selector names the one track or the other: all or nothing, in one write. Handed back as it is, since
 * where it points is what the release decided.
 */
export function serviceSelectorShape(selectors: { readonly stable: Selector; readonly canary: Selector }): RouteShape {
  return {
    read(object) {
      const selector = Service.safeParse(object).data?.spec.selector ?? {};
      const weight = same(selector, selectors.stable) ? 0 : same(selector, selectors.canary) ? 100 : null;
      return { weight, match: [] };
    },
    write(object, { weight }) {
      if (!Service.safeParse(object).success) {
        throw new TrafficFailure('invalidRoute', `${describeObject(refOf(object))} is not a Service with a spec.`);
      }
      const selector = weight === 100 ? selectors.canary : selectors.stable;
      return { ...object, spec: { ...(object['spec'] as object), selector } };
    },
    origin: () => null,
    restore: (object) => object,
    status: (object) => ({
      kind: 'confirmed',
      evidence: [`${describeObject(refOf(object))} selects so; endpoints follow within the cluster's own delay`],
    }),
  };
}

function same(a: Selector, b: Selector): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
