import type { Look } from './style';

const DIGEST = /(sha256:[a-f0-9]{12})[a-f0-9]{52}(?![a-f0-9])/gu;

/** Enough of each digest to tell two apart, on a terminal; elsewhere the whole. */
export function shortDigest(text: string, look: Pick<Look, 'isTerminal'>): string {
  return look.isTerminal ? text.replace(DIGEST, '$1…') : text;
}
