import type { RequestCounter } from '../../../src/targets/kubernetes/request-counter';

/** How many requests some work took, by verb and resource; each try counts. */
export async function requestsOf(counter: RequestCounter, work: Promise<unknown>): Promise<Record<string, number>> {
  const before = totals(counter);
  await work;
  const added = [...totals(counter)].map(([key, sum]) => [key, sum - (before.get(key) ?? 0)] as const);
  return Object.fromEntries(added.filter(([, sum]) => sum > 0));
}

function totals(counter: RequestCounter): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { verb, resource, count } of counter.snapshot()) {
    const key = `${verb} ${resource}`;
    sums.set(key, (sums.get(key) ?? 0) + count);
  }
  return sums;
}
