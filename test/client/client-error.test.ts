import { QueryNotRegisteredError } from '@temporalio/client';
import { toReleaseError } from '../../src/client/client-error';

/** As gRPC's client makes them. */
function grpcError(code: number, details: string): Error {
  return Object.assign(new Error(details), { code, details, metadata: {} });
}

const CONTEXT = { where: 'temporal:7233', subject: 'shop/checkout' };

describe('what Temporal answers, for people', () => {
  it('says of a release whose task fails that it is tried again, which a watch waits for', () => {
    const error = grpcError(9, 'Cannot query workflow due to Workflow Task in failed state.');

    expect(toReleaseError(error, CONTEXT)).toMatchObject({
      code: 'no-worker',
      message:
        'No worker gets on with the release of shop/checkout: its last workflow task failed, and is tried again.',
    });
  });

  it('says of a release that no worker can replay where the way out is', () => {
    const why = "[TMPRL1100] Nondeterminism error: Activity id of scheduled event '11' does not match '10'";
    const error = toReleaseError(new QueryNotRegisteredError(why, 3), CONTEXT);

    expect(error.message).toBe(
      `No worker can go on with the release of shop/checkout: none finds again what one has done before (${why}).`,
    );
    expect(error.hint).toContain('docs/runbooks/release-stuck.md');
  });

  it.each([
    [9, 'Something else is not as it should be', 'internal'],
    [14, 'connect ECONNREFUSED', 'unreachable'],
    [4, 'Deadline exceeded', 'unreachable'],
    [8, 'namespace rate limit exceeded', 'unreachable'],
    [7, 'Request unauthorized', 'forbidden'],
    [5, 'workflow not found', 'not-found'],
    [3, 'namespace shop is invalid', 'not-found'],
  ])('has a code for gRPC %i (%s)', (code, details, expected) => {
    expect(toReleaseError(grpcError(code, details), CONTEXT).code).toBe(expected);
  });
});
