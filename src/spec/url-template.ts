import { nearest } from './nearest';
import { promDuration, QUERY_PLACEHOLDERS } from './query-template';
import type { QueryValues } from './query-template';

/**
 * An address with the placeholders of queries, and two for the ends of the window, in its path and query alone: which
 * server is asked stands in the spec as it is, and no value can lead elsewhere. Values are percent-encoded.
 */
export const URL_PLACEHOLDERS = [...QUERY_PLACEHOLDERS, 'start', 'end'] as const;
type UrlPlaceholder = (typeof URL_PLACEHOLDERS)[number];

export interface UrlValues extends QueryValues {
  /** The window's ends as they are sent: Unix seconds. */
  readonly start: string;
  readonly end: string;
}

const PLACEHOLDER = /\{\{\s*([^{}]*?)\s*\}\}/gu;
const ORIGIN = /^https?:\/\/[^/?#\\@\s{}]+/iu;
const STEPS_UP = /(?:^|\/)\.{1,2}(?:\/|$)/u;

/** What is wrong with a template, one sentence each; empty when it can be resolved. */
export function urlTemplateProblems(template: string): readonly string[] {
  const problems: string[] = [];
  const origin = ORIGIN.exec(template)?.[0];
  const rest = origin === undefined ? '' : template.slice(origin.length);
  if (origin === undefined || !URL.canParse(origin) || !/^(?:[/?]|$)/u.test(rest)) {
    problems.push(
      'the address has no http:// or https:// server of its own at its beginning, without credentials and placeholders. Allowed: https://metrics.example/api?track={{track}}.',
    );
  }
  if (/[#\s]/u.test(rest.replace(PLACEHOLDER, ''))) {
    problems.push('the address has a fragment or white space. Allowed: a path and a query.');
  }
  if (STEPS_UP.test(pathOf(rest))) problems.push('the path goes up (..). Allowed: the path as it is meant.');
  const allowed = `Allowed: ${URL_PLACEHOLDERS.map((known) => `{{${known}}}`).join(', ')}.`;
  for (const [, name = ''] of template.matchAll(PLACEHOLDER)) {
    if (isPlaceholder(name)) continue;
    const near = nearest(name, URL_PLACEHOLDERS);
    const hint = near === null ? '.' : `; did you mean "{{${near}}}"?`;
    problems.push(`unknown placeholder "{{${name.slice(0, 40)}}}"${hint} ${allowed}`);
  }
  if (/\{\{|\}\}/u.test(template.replace(PLACEHOLDER, ''))) {
    problems.push(`the address has a placeholder that is not closed. ${allowed}`);
  }
  return [...new Set(problems)];
}

/** Whether an address says up to which moment it asks, and not what is now. */
export function asksUpToAMoment(template: string): boolean {
  return [...template.matchAll(PLACEHOLDER)].some(([, name]) => name === 'end');
}

/**
 * The address as it is asked.
 *
 * @throws TypeError for a template that `urlTemplateProblems` finds fault with, and for a value that would change the
 * path it stands in.
 */
export function resolveUrl(template: string, values: UrlValues): string {
  const [problem] = urlTemplateProblems(template);
  if (problem !== undefined) throw new TypeError(problem);
  const url = template.replace(PLACEHOLDER, (_, name: UrlPlaceholder) =>
    encodeURIComponent(name === 'window' ? promDuration(values.windowMs) : values[name]),
  );
  if (STEPS_UP.test(pathOf(url.replace(ORIGIN, '')))) {
    throw new TypeError('a value would make the path go up (..)');
  }
  return url;
}

function pathOf(rest: string): string {
  return rest.split('?', 1)[0] ?? '';
}

function isPlaceholder(name: string): name is UrlPlaceholder {
  return (URL_PLACEHOLDERS as readonly string[]).includes(name);
}
