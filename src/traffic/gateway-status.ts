import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { refOf } from './held-object';
import type { RouteShape } from './route-shape';

const ParentRef = z.looseObject({
  group: z.string().optional(),
  kind: z.string().optional(),
  namespace: z.string().optional(),
  name: z.string(),
  sectionName: z.string().optional(),
  port: z.number().optional(),
});

const Condition = z.looseObject({
  type: z.string(),
  status: z.string(),
  reason: z.string().optional(),
  message: z.string().optional(),
  observedGeneration: z.number().optional(),
});

const ParentStatus = z.looseObject({
  parentRef: ParentRef,
  controllerName: z.string().optional(),
  conditions: z.array(Condition).optional(),
});

const RouteStatus = z.looseObject({
  spec: z.looseObject({ parentRefs: z.array(ParentRef).optional() }),
  status: z.looseObject({ parents: z.array(ParentStatus).optional() }).optional(),
});

/** Both must be True: a route may be accepted and still name a backend that does not exist. */
const REQUIRED = ['Accepted', 'ResolvedRefs'] as const;

/**
 * Whether every parent of a route has taken its last change: each of the spec's parents has a status by every controller
 * that speaks for it, with Accepted and ResolvedRefs True for this generation or a later one.
 */
export function gatewayStatus(object: TrafficObject): ReturnType<RouteShape['status']> {
  const where = describeObject(refOf(object));
  const parsed = RouteStatus.safeParse(object);
  const parentRefs = parsed.data?.spec.parentRefs ?? [];
  if (parentRefs.length === 0) return { kind: 'refused', reasons: [`${where} belongs to no Gateway.`] };
  const generation = object.metadata.generation ?? 0;
  const namespace = object.metadata.namespace ?? '';
  const evidence: string[] = [];
  const pending: string[] = [];
  const refused: string[] = [];
  for (const parentRef of parentRefs) {
    const wanted = keyOf(parentRef, namespace);
    const gateway = describeParent(parentRef, namespace);
    const statuses = (parsed.data?.status?.parents ?? []).filter((one) => keyOf(one.parentRef, namespace) === wanted);
    if (statuses.length === 0) pending.push(`No controller has said anything about ${where} on ${gateway} yet.`);
    for (const { conditions = [], controllerName = 'the controller' } of statuses) {
      const partly = conditions.find((one) => one.type === 'PartiallyInvalid' && one.status === 'True');
      if (partly !== undefined) refused.push(`${controllerName} drops a part of ${where} on ${gateway}${say(partly)}.`);
      for (const type of REQUIRED) {
        const condition = conditions.find((one) => one.type === type);
        if (condition === undefined || (condition.observedGeneration ?? 0) < generation) {
          pending.push(
            `${controllerName} has not said ${type} for generation ${generation} of ${where} on ${gateway} yet.`,
          );
        } else if (condition.status === 'True') {
          evidence.push(`${controllerName}: ${type} for generation ${condition.observedGeneration} on ${gateway}`);
        } else if (condition.status === 'False') {
          refused.push(`${controllerName} says ${type} is False for ${where} on ${gateway}${say(condition)}.`);
        } else {
          pending.push(
            `${controllerName} says ${type} is ${condition.status} for ${where} on ${gateway}${say(condition)}.`,
          );
        }
      }
    }
  }
  if (refused.length > 0) return { kind: 'refused', reasons: refused };
  return pending.length > 0 ? { kind: 'pending', reasons: pending } : { kind: 'confirmed', evidence };
}

/** Two references to the same parent, whether their defaults are written out or not. */
function keyOf(ref: z.infer<typeof ParentRef>, namespace: string): string {
  return JSON.stringify([
    ref.group ?? 'gateway.networking.k8s.io',
    ref.kind ?? 'Gateway',
    ref.namespace ?? namespace,
    ref.name,
    ref.sectionName ?? '',
    ref.port ?? 0,
  ]);
}

function describeParent(ref: z.infer<typeof ParentRef>, namespace: string): string {
  const section = ref.sectionName === undefined ? '' : `, listener ${ref.sectionName}`;
  return `${ref.kind ?? 'Gateway'} ${ref.namespace ?? namespace}/${ref.name}${section}`;
}

function say({ reason, message }: z.infer<typeof Condition>): string {
  const words = [reason, message].filter((one) => one !== undefined && one !== '').join(': ');
  return words === '' ? '' : `: ${words.replace(/\s+/g, ' ').slice(0, 300).replace(/\.$/, '')}`;
}
