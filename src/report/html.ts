import { createHash } from 'node:crypto';
import { PAGE_STYLE } from './page-style';

/** HTML that is known to be safe to put into a page: made here, or escaped. */
export class Html {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

export type Part = Html | string | number | null | readonly Part[];

/** Markup with everything in it escaped that is not markup itself. */
export function markup(template: TemplateStringsArray, ...parts: readonly Part[]): Html {
  let text = template[0] ?? '';
  for (const [index, part] of parts.entries()) text += write(part) + (template[index + 1] ?? '');
  return new Html(text);
}

function write(part: Part): string {
  if (part === null) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'string' || typeof part === 'number') return escapeText(String(part));
  return part.map(write).join('');
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Text from outside for any place in a page, within quotes, too. Control characters, and those that turn the direction
 * of what follows, are shown as unknown: a name must not be able to look like another sentence.
 */
export function escapeText(text: string): string {
  return text
    .replace(/[^\P{Control}\n\t]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
    .replace(/[&<>"']/gu, (character) => ENTITIES[character] ?? character);
}

/**
 * A whole page in one file. Its policy allows nothing but its own style sheet, by its hash: no script runs in it, and
 * nothing is fetched, whatever a text in it says.
 */
export function renderPage(title: string, body: Html): string {
  const hash = createHash('sha256').update(PAGE_STYLE).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'`;
  const page = markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${new Html(policy)}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="referrer" content="no-referrer" />
        <title>${title}</title>
        <style>${new Html(PAGE_STYLE)}</style>
      </head>
      <body>
        <main>${body}</main>
      </body>
    </html> `;
  return page.text;
}
