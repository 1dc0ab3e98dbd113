/** A fault that is over takes the gateway and the kubelet a moment; what is not so by then is not so. */
const SETTLED_MS = 20_000;

/** Looks until it is so. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  withinMs = SETTLED_MS,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`It did not come to be within ${withinMs / 1_000} s that ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
