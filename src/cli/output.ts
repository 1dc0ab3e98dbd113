import { stringify } from 'yaml';
import { messageOf, ReleaseError } from '../errors';
import { displayWidth, padEnd, truncate } from './display-width';
import { glyphs } from './style';
import type { Look } from './style';

export const FORMATS = ['table', 'json', 'jsonl', 'yaml'] as const;
export type Format = (typeof FORMATS)[number];

/** Every document a command answers with names what it is. */
export interface ResultDocument {
  readonly apiVersion: 'sluice.dev/v1';
  readonly kind: string;
}

export const API_VERSION = 'sluice.dev/v1';

/** A document in a machine's format, with its line end. Never coloured. */
export function formatDocument(document: object, format: Exclude<Format, 'table'>): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(document, null, 2)}\n`;
    case 'jsonl':
      return `${JSON.stringify(document)}\n`;
    case 'yaml':
      return `---\n${stringify(document)}`;
    default:
      return format satisfies never;
  }
}

/** What a failed command answers in a machine's format. */
export interface ErrorDocument extends ResultDocument {
  readonly kind: 'Error';
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | null };
}

export function errorDocument(error: unknown): ErrorDocument {
  const known = error instanceof ReleaseError;
  return {
    apiVersion: API_VERSION,
    kind: 'Error',
    error: {
      code: known ? error.code : 'internal',
      message: messageOf(error),
      hint: known ? (error.hint ?? null) : null,
    },
  };
}

/** Columns under their headings, two spaces apart; on a terminal the last column is cut to the width there is. */
export function renderTable(headings: readonly string[], rows: readonly (readonly string[])[], look: Look): string[] {
  const widths = headings.map((heading, column) =>
    Math.max(displayWidth(heading), ...rows.map((row) => displayWidth(row[column] ?? ''))),
  );
  const mark = glyphs(look).ellipsis;
  return [headings, ...rows].map((row) => {
    const line = widths
      .map((width, column) => padEnd(row[column] ?? '', width))
      .join('  ')
      .trimEnd();
    return look.isTerminal ? truncate(line, look.width, mark) : line;
  });
}
