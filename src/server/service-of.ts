import type { ServiceRef } from '../client/client-types';
import { FlagProblem } from '../flags/problem';
import { Namespace, ServiceName } from './schemas';

/** The service that a path names. */
export function serviceOf(params: Readonly<Record<string, string>>, release?: string): ServiceRef {
  const namespace = Namespace.safeParse(params['namespace']);
  const service = ServiceName.safeParse(params['service']);
  const [issue] = [...(namespace.error?.issues ?? []), ...(service.error?.issues ?? [])];
  if (!namespace.success || !service.success) {
    throw new FlagProblem('invalid-request', `The path names no service: ${issue?.message ?? ''}.`);
  }
  const ref = { namespace: namespace.data, service: service.data };
  return release === undefined ? ref : { ...ref, release };
}
