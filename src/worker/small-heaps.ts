import { setFlagsFromString } from 'node:v8';

/** Megabytes of a semi-space, of which a heap has three at most. */
const SEMI_SPACE_MB = 8;

/**
 * Keeps the heaps of this process, and of the threads it starts from now on, near the size of what lives in them. For
 * the process of a worker alone, before its worker is made: these are V8's settings for everything in it.
 * - What lives long may grow by a third before it is collected. By itself V8 lets it grow to twice and five times that
 *   on a machine with memory to spare: with 200 releases in progress some 50 MB live in each of a worker's two heaps.
 * - What is new has a space of its own, which V8 lets grow to 128 MB a heap on such a machine. A thread's is made with
 *   the size it keeps; this one's is there already, and grows no more.
 */
export function keepHeapsSmall(): void {
  setFlagsFromString('--heap-growing-percent=33');
  setFlagsFromString(`--min-semi-space-size=${SEMI_SPACE_MB}`);
  setFlagsFromString(`--max-semi-space-size=${SEMI_SPACE_MB}`);
  setFlagsFromString('--semi-space-growth-factor=1');
}
