/**
 * Whether something thrown carries this code (`ENOENT` of the system, or a gRPC status). By its shape, not by
 * `instanceof Error`: where code is loaded into a realm of its own, the system's errors are of another realm's `Error`.
 */
export function hasCode(error: unknown, code: string | number): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code;
}
