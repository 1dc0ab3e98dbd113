import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { releaseJsonSchema } from './json-schema';
import { specReference } from './reference';

/**
 * Writes what is generated from the schema: schema/release.schema.json and the tables of docs/spec.md.
 * Run after a change of the schema: `npm run build && node dist/spec/write-reference.js`. A test tells when it is due.
 */
export const REFERENCE_BEGIN = '<!-- prettier-ignore-start -->';
export const REFERENCE_END = '<!-- prettier-ignore-end -->';

/** The text of schema/release.schema.json. */
export function schemaFileText(): string {
  return `${JSON.stringify(releaseJsonSchema(), null, 2)}\n`;
}

/** The page with its generated part renewed. */
export function withReference(page: string): string {
  const begin = page.indexOf(REFERENCE_BEGIN);
  const end = page.indexOf(REFERENCE_END);
  if (begin === -1 || end < begin) throw new Error('docs/spec.md has lost the marks around its generated part.');
  return `${page.slice(0, begin + REFERENCE_BEGIN.length)}\n\n${specReference()}\n\n${page.slice(end)}`;
}

if (require.main === module) {
  const root = join(__dirname, '..', '..');
  writeFileSync(join(root, 'schema', 'release.schema.json'), schemaFileText());
  const page = join(root, 'docs', 'spec.md');
  writeFileSync(page, withReference(readFileSync(page, 'utf8')));
}
