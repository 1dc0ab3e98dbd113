import { stripVTControlCharacters } from 'node:util';

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Two columns: East Asian wide and full-width blocks and pictographs (UAX #11, coarse but enough for a terminal). */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const ZERO = /^[\p{Mark}\p{Format}]+$/u;

function graphemeWidth(grapheme: string): number {
  if (ZERO.test(grapheme)) return 0;
  // U+FE0F asks for the emoji form of a character that has both.
  return WIDE.test(grapheme) || grapheme.includes('\ufe0f') ? 2 : 1;
}

/** Columns a text takes in a terminal; colour sequences take none. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) width += graphemeWidth(segment);
  return width;
}

/** Cuts a text without colour sequences to so many columns, never within a character, and says so with `mark`. */
export function truncate(text: string, columns: number, mark = '…'): string {
  if (displayWidth(text) <= columns) return text;
  const room = columns - displayWidth(mark);
  if (room <= 0) return mark.slice(0, Math.max(0, columns));
  let kept = '';
  let width = 0;
  for (const { segment } of segmenter.segment(text)) {
    const next = width + graphemeWidth(segment);
    if (next > room) break;
    kept += segment;
    width = next;
  }
  return kept.trimEnd() + mark;
}

/** Fills up with spaces on the right to so many columns. */
export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - displayWidth(text)));
}

/** Breaks a text into lines of at most so many columns at spaces; a word longer than that is cut. */
export function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/u).filter((part) => part !== '')) {
    const longer = line === '' ? word : `${line} ${word}`;
    if (displayWidth(longer) <= columns) {
      line = longer;
      continue;
    }
    if (line !== '') lines.push(line);
    line = truncate(word, columns);
  }
  if (line !== '') lines.push(line);
  return lines;
}

/**
 * Text from outside made safe for a terminal: one line, no control characters. Names and messages come from specs,
 * servers and other people; none of them may move the cursor.
 */
export function safeText(text: string): string {
  return stripVTControlCharacters(text)
    .replace(/[\r\n\t]+/gu, ' ')
    .replace(/\p{Control}/gu, '');
}
