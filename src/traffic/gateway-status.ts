import { z } from 'zod';
import { describeObject } from './cluster-access';
import type { TrafficObject } from './cluster-access';
import { refOf } from './held-object';
import type { RouteShape, StatusAsked } from './route-shape';

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
 * that speaks for it, with Accepted and ResolvedRefs True for this generation or a later one. On the way back it need only
 * have taken it: what else is wrong with the route, another rule's Service, say, is no share of the canary's.
 */
export function gatewayStatus(
  object: TrafficObject,
  { back, silentSince }: StatusAsked,
): ReturnType<RouteShape['status']> {
  const where = describeObject(refOf(object));
  const parents = parentsOf(object);
  if (parents.length === 0) {
    const nobody = `${where} belongs to no Gateway`;
    return back ? { kind: 'confirmed', evidence: [nobody] } : { kind: 'refused', reasons: [`${nobody}.`] };
  }
  const generation = object.metadata.generation ?? 0;
  const evidence: string[] = [];
  const pending: string[] = [];
  const refused: string[] = [];
  for (const { gateway, statuses } of parents) {
    if (statuses.length === 0) {
      // Who had taken a weight has said so; where he is gone, or his word is, nobody is waited for.
      if (back && silentSince !== null) evidence.push(`no controller says anything about ${where} on ${gateway}`);
      else pending.push(`No controller has said anything about ${where} on ${gateway} yet.`);
    }
    for (const status of statuses) {
      const { conditions = [], controllerName = 'the controller' } = status;
      const seen = seenBy(status);
      if (back && seen >= generation) {
        evidence.push(`${controllerName} has taken generation ${seen} on ${gateway}`);
        continue;
      }
      if (back && silentSince !== null && seen <= silentSince) {
        evidence.push(`${controllerName} has said nothing on ${gateway} since before the release (generation ${seen})`);
        continue;
      }
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

/**
 * Why no change of a route would ever be confirmed, a sentence; null where nothing says so. A route that nobody has said
 * anything about yet may be new. `canaryNamed`: what is amiss may be the Service that the release is about to make.
 */
export function gatewayRefusal(
  object: TrafficObject,
  { canaryNamed }: { readonly canaryNamed: boolean },
): string | null {
  const where = describeObject(refOf(object));
  const parents = parentsOf(object);
  if (parents.length === 0) return `${where} belongs to no Gateway, so nobody would take a weight; give it parentRefs.`;
  const generation = object.metadata.generation ?? 0;
  for (const { gateway, statuses } of parents) {
    const behind = statuses.find((status) => seenBy(status) < generation);
    if (behind === undefined || !statuses.some((status) => seenBy(status) >= generation)) continue;
    return `${behind.controllerName ?? 'A controller'} has not followed ${where} on ${gateway} since generation ${seenBy(behind)} of ${generation}, so no weight would be confirmed; where it is no more, take its entry out of the status (kubectl edit --subresource=status), and otherwise wait for it.`;
  }
  if (canaryNamed) return null;
  const said = gatewayStatus(object, { back: false, silentSince: null });
  if (said.kind !== 'refused') return null;
  return `No weight would be confirmed: ${said.reasons.join(' ')} Put that right first.`;
}

interface Parent {
  /** As people read it. */
  readonly gateway: string;
  readonly statuses: readonly z.infer<typeof ParentStatus>[];
}

/** The parents that the spec names, each with what its controllers say. */
function parentsOf(object: TrafficObject): readonly Parent[] {
  const parsed = RouteStatus.safeParse(object);
  const namespace = object.metadata.namespace ?? '';
  return (parsed.data?.spec.parentRefs ?? []).map((parentRef) => {
    const wanted = keyOf(parentRef, namespace);
    const statuses = (parsed.data?.status?.parents ?? []).filter((one) => keyOf(one.parentRef, namespace) === wanted);
    return { gateway: describeParent(parentRef, namespace), statuses };
  });
}

/** The last generation that a controller has said anything of. */
function seenBy({ conditions = [] }: z.infer<typeof ParentStatus>): number {
  return Math.max(0, ...conditions.map((one) => one.observedGeneration ?? 0));
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
