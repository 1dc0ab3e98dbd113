import { createInterface } from 'node:readline';
import type { ReleaseStatus } from '../workflows/api';
import { ReleaseError } from '../errors';
import { safeText } from './display-width';
import { shortDigest } from './short-digest';
import { toAscii } from './style';
import type { Look } from './style';

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

/** A question with what it is about: the release, its versions and its weight. */
export function confirmQuestion(question: string, status: ReleaseStatus, look: Look): string {
  const from = shortDigest(safeText(status.version.from ?? 'unknown'), look);
  const to = shortDigest(safeText(status.version.to), look);
  return [
    question,
    `  release ${safeText(status.release)}`,
    `  version ${from} → ${to}`,
    `  weight  ${status.weight} % now`,
  ]
    .map((line) => toAscii(line, look))
    .join('\n');
}

/** What a person answered; the end of the input is a no. */
export type Answer = 'yes' | 'no' | 'interrupted';

/** Asks on stderr, so that stdout stays the result alone. Only y and yes are a yes; so is --yes beforehand. */
export async function confirm(io: ConfirmIo, question: string, yes: boolean): Promise<Answer> {
  if (yes) return 'yes';
  requireConfirmable(io, yes);
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  try {
    return await new Promise<Answer>((resolve) => {
      prompt.once('line', (line) => resolve(/^y(es)?$/iu.test(line.trim()) ? 'yes' : 'no'));
      prompt.once('SIGINT', () => resolve('interrupted'));
      prompt.once('close', () => resolve('no'));
      prompt.setPrompt(`${question}\nGo on? [y/N] `);
      prompt.prompt();
    });
  } finally {
    prompt.close();
  }
}

export function isInteractive(io: ConfirmIo): boolean {
  return io.stdin.isTTY === true && io.stderr.isTTY === true;
}
