import { ReleaseError } from '../errors';

/**
 * Temporal is away. Apart from the client's other errors, since the command line says it before Temporal's client is
 * loaded.
 */
export function unreachable(
  where: string,
  more: { readonly detail?: string; readonly cause?: unknown } = {},
): ReleaseError {
  const detail = more.detail === undefined ? '' : `: ${more.detail}`;
  return new ReleaseError('unreachable', `Temporal does not answer at ${where}${detail}.`, {
    hint: 'Start one with `sluice dev`, or say where it is: --address, TEMPORAL_ADDRESS or a profile.',
    cause: more.cause,
  });
}
