import { TargetFailure } from '../../src/targets/target';

/** What a target failed with; fails the test where it did not, or with anything else. */
export async function failureOf(work: Promise<unknown>): Promise<TargetFailure> {
  const error: unknown = await work.then(
    (value) => new Error(`it gave ${String(value)}`),
    (caught: unknown) => caught,
  );
  if (error instanceof TargetFailure) return error;
  throw new Error(`Expected a failure of the target, got ${String(error)}`, { cause: error });
}
