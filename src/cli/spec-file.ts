import { Option } from 'commander';
import type { ServiceRef } from '../client/client-types';
import { ReleaseError } from '../errors';
import type { Plan } from '../spec/plan-types';
import { refName } from './service-ref';
import type { Session } from './session';
import { ANY_IMAGE } from './spec-source';

/** Of commands that name their service, and may be given its spec beside. */
export function fileOption(): Option {
  return new Option('-f, --file <release.yaml>', 'the spec of the service');
}

/** The plan of a spec where the version does not matter. */
export async function planAnyVersion({ cli }: Session, file: string): Promise<Plan> {
  const { target } = await cli.spec.identify(file);
  return cli.spec.plan(file, target === 'kubernetes' ? ANY_IMAGE : 'any');
}

/** A file that is about another service would show, or start a release of, that one. */
export async function refuseOtherService({ cli }: Session, ref: ServiceRef, file: string): Promise<void> {
  const said = await cli.spec.identify(file);
  if (refName(said) === refName(ref)) return;
  throw new ReleaseError('usage', `${file} is the spec of ${refName(said)}, and not of ${refName(ref)}.`, {
    hint: `Name ${refName(said)}, or give the spec of ${refName(ref)}.`,
  });
}
