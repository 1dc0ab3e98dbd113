import { createInterface } from 'node:readline/promises';
import type { ReleaseStatus } from '../workflows/api';
import { ReleaseError } from '../errors';
import { safeText } from './display-width';

export interface ConfirmIo {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly stderr: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

/**
 * Refuses, before anything else is done, a command that would have to ask but has nobody to ask: a pipeline must get
 * a sentence, not a prompt that waits for ever.
 */
export function requireConfirmable(io: ConfirmIo, yes: boolean): void {
  if (yes || isInteractive(io)) return;
  throw new ReleaseError('usage', 'This asks for confirmation, and there is no terminal to ask on.', {
    hint: 'Add --yes to do it without being asked.',
  });
}

/** What a person is asked: `Roll back shop/checkout from 1.42.0 to 1.41.0? The canary gets 25 % now.` */
export function confirmQuestion(verb: string, status: ReleaseStatus): string {
  const from = safeText(status.version.from ?? 'unknown');
  return [
    `${verb} ${safeText(status.namespace)}/${safeText(status.service)}?`,
    `  release ${safeText(status.release)}`,
    `  version ${from} -> ${safeText(status.version.to)}`,
    `  weight  ${status.weight} % now`,
  ].join('\n');
}

/** True when the person typed y or yes, or said --yes beforehand. The end of the input is a no. */
export async function confirm(io: ConfirmIo, question: string, yes: boolean): Promise<boolean> {
  if (yes) return true;
  requireConfirmable(io, yes);
  // On stderr, so that stdout stays the result alone.
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  try {
    const closed = new Promise<string>((resolve) => prompt.once('close', () => resolve('')));
    const answer = await Promise.race([prompt.question(`${question}\nGo on? [y/N] `), closed]);
    return /^y(es)?$/iu.test(answer.trim());
  } finally {
    prompt.close();
  }
}

export function isInteractive(io: ConfirmIo): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true;
}
