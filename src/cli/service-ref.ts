import type { ServiceRef } from '../client/client-types';
import { ReleaseError } from '../errors';
import type { SpecTools } from './spec-source';

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/u;
export const DEFAULT_NAMESPACE = 'default';

/**
 * Which service is meant: `name` (of the namespace `default`), `namespace/name`, or the path of its release.yaml
 * (anything that ends in .yaml or .yml).
 */
export async function resolveServiceRef(text: string, spec: SpecTools, release?: string): Promise<ServiceRef> {
  const { namespace, service } = /\.ya?ml$/iu.test(text) ? await spec.identify(text) : parse(text);
  const ref = { namespace, service };
  return release === undefined ? ref : { ...ref, release };
}

function parse(text: string): ServiceRef {
  const parts = text.split('/');
  const [namespace, service] = parts.length === 1 ? [DEFAULT_NAMESPACE, parts[0]] : parts;
  if (
    parts.length > 2 ||
    namespace === undefined ||
    service === undefined ||
    !NAME.test(namespace) ||
    !NAME.test(service)
  ) {
    throw new ReleaseError('usage', `${JSON.stringify(text)} names no service.`, {
      hint: 'Write its name (checkout), namespace and name (shop/checkout), or the path of its release.yaml.',
    });
  }
  return { namespace, service };
}

export function refName(ref: Pick<ServiceRef, 'namespace' | 'service'>): string {
  return `${ref.namespace}/${ref.service}`;
}
