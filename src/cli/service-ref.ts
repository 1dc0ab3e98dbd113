import type { ServiceRef } from '../client/client-types';
import { ReleaseError } from '../errors';
import type { SpecTools } from './spec-source';

const NAME = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/u;
const WRITE_SERVICE = 'Write its name (checkout), namespace and name (shop/checkout), or the path of its release.yaml.';
export const DEFAULT_NAMESPACE = 'default';

/**
 * Which service is meant: `name` (of the namespace `default`), `namespace/name`, or the path of its release.yaml
 * (anything that ends in .yaml or .yml).
 */
export async function resolveServiceRef(text: string, spec: SpecTools, release?: string): Promise<ServiceRef> {
  const { namespace, service } = isSpecPath(text) ? await identify(text, spec) : parse(text);
  const ref = { namespace, service };
  return release === undefined ? ref : { ...ref, release };
}

/** Whether a service is named by its release.yaml. */
export function isSpecPath(text: string): boolean {
  return /\.ya?ml$/iu.test(text);
}

/** Who has named a file that is of no use is told that the service's name would do, and what it is. */
async function identify(path: string, spec: SpecTools): Promise<Pick<ServiceRef, 'namespace' | 'service'>> {
  try {
    return await spec.identify(path);
  } catch (error) {
    if (!(error instanceof ReleaseError)) throw error;
    const named = error.code === 'invalid-spec' ? await spec.name(path) : null;
    const hint =
      named === null
        ? `A service is asked for. ${WRITE_SERVICE}`
        : `A service is asked for; that of ${path} is ${refName(named)}, and its name needs no file.`;
    throw new ReleaseError(error.code, error.message, { hint, cause: error });
  }
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
      hint: WRITE_SERVICE,
    });
  }
  return { namespace, service };
}

export function refName(ref: Pick<ServiceRef, 'namespace' | 'service'>): string {
  return `${ref.namespace}/${ref.service}`;
}
