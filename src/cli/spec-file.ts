import { Option } from 'commander';
import type { ServiceRef } from '../client/client-types';
import { ReleaseError } from '../errors';
import type { Plan } from '../spec/plan-types';
import { isSpecPath, refName, resolveServiceRef } from './service-ref';
import type { Session } from './session';
import { ANY_IMAGE } from './spec-source';

/** Of commands that act on a service by its spec. */
export function fileOption(): Option {
  return new Option('-f, --file <release.yaml>', 'the spec of the service');
}

/** Which service is meant, and its spec where that was given: by `-f`, or in the place of the service's name. */
export interface GivenService {
  readonly ref: ServiceRef;
  readonly file: string | undefined;
}

/** For commands that take `-f`: a spec says by itself which service is meant, so that none has to be named beside it. */
export async function resolveGivenService(
  session: Session,
  service: string | undefined,
  options: { readonly file?: string; readonly release?: string },
): Promise<GivenService> {
  const { spec } = session.cli;
  const { file, release } = options;
  if (service !== undefined) {
    const ref = await resolveServiceRef(service, spec, release);
    if (file !== undefined) await refuseOtherService(session, ref, file);
    return { ref, file: file ?? (isSpecPath(service) ? service : undefined) };
  }
  if (file === undefined) throw noServiceMeant('Name it (shop/checkout), or give its spec: -f release.yaml.');
  const said = await spec.identify(file);
  const ref = { namespace: said.namespace, service: said.service };
  return { ref: release === undefined ? ref : { ...ref, release }, file };
}

export function noServiceMeant(hint: string): ReleaseError {
  return new ReleaseError('usage', 'It is not said which service is meant.', { hint });
}

/** The plan of a spec where the version does not matter. */
export async function planAnyVersion({ cli }: Session, file: string): Promise<Plan> {
  const { target } = await cli.spec.identify(file);
  return cli.spec.plan(file, target === 'kubernetes' ? ANY_IMAGE : 'any');
}

/** A file that is about another service would show, or start a release of, that one. */
async function refuseOtherService({ cli }: Session, ref: ServiceRef, file: string): Promise<void> {
  const said = await cli.spec.identify(file);
  if (refName(said) === refName(ref)) return;
  throw new ReleaseError('usage', `${file} is the spec of ${refName(said)}, and not of ${refName(ref)}.`, {
    hint: `Name ${refName(said)}, or give the spec of ${refName(ref)}.`,
  });
}
