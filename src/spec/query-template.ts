import { nearest } from './nearest';

/**
 * PromQL with declared placeholders. Names stand only within quoted strings, where their values are escaped;
 * {{window}} is a duration made of digits and one unit, and may stand anywhere. Nothing else is replaced.
 */
export const QUERY_PLACEHOLDERS = ['service', 'namespace', 'track', 'version', 'window'] as const;
export type QueryPlaceholder = (typeof QUERY_PLACEHOLDERS)[number];

export interface QueryValues {
  readonly service: string;
  readonly namespace: string;
  /** canary or stable; a colour for a blue-green release. */
  readonly track: string;
  readonly version: string;
  readonly windowMs: number;
}

/** Where in PromQL a piece of text stands; strings after `=~` and `!~` hold regular expressions (RE2). */
type Context = 'code' | 'comment' | 'raw string' | QuotedContext;
type QuotedContext = `${'"' | "'"}${'' | ' regex'}`;

interface Placeholder {
  readonly start: number;
  readonly end: number;
  readonly name: string;
  readonly context: Context;
}

/** What is wrong with a template, one sentence each; empty when it can be resolved. */
export function templateProblems(template: string): readonly string[] {
  const problems: string[] = [];
  for (const placeholder of placeholders(template)) {
    const problem = placeholderProblem(placeholder);
    if (problem !== null && !problems.includes(problem)) problems.push(problem);
  }
  return problems;
}

/** Whether what is asked depends on the window. */
export function asksOverWindow(template: string): boolean {
  return placeholders(template).some(({ name }) => name === 'window');
}

/**
 * The query as it is sent. Values are escaped for the string they stand in (`\`, the quote, line breaks), and for RE2
 * after `=~` and `!~`. Throws a `TypeError` for a template that `templateProblems` finds fault with.
 */
export function resolveQuery(template: string, values: QueryValues): string {
  let query = '';
  let from = 0;
  for (const placeholder of placeholders(template)) {
    const problem = placeholderProblem(placeholder);
    if (problem !== null) throw new TypeError(problem);
    query += template.slice(from, placeholder.start) + valueOf(placeholder, values);
    from = placeholder.end;
  }
  return query + template.slice(from);
}

/** A Prometheus duration: `60s`, or `1500ms` for what is no whole number of seconds. */
export function promDuration(ms: number): string {
  const whole = Math.max(1, Math.round(ms));
  return whole % 1000 === 0 ? `${whole / 1000}s` : `${whole}ms`;
}

function valueOf({ name, context }: Placeholder, values: QueryValues): string {
  if (name === 'window') return promDuration(values.windowMs);
  const value = values[name as Exclude<QueryPlaceholder, 'window'>];
  return escapeFor(value, context as QuotedContext);
}

function escapeFor(value: string, context: QuotedContext): string {
  const text = context.endsWith('regex') ? value.replace(/[\\.+*?()|[\]{}^$]/g, '\\$&') : value;
  return text
    .replaceAll('\\', '\\\\')
    .replaceAll('\n', '\\n')
    .replaceAll('\r', '\\r')
    .replaceAll(context.charAt(0), `\\${context.charAt(0)}`);
}

function placeholderProblem({ name, context }: Placeholder): string | null {
  const allowed = `Allowed: ${QUERY_PLACEHOLDERS.map((known) => `{{${known}}}`).join(', ')}.`;
  if (!(QUERY_PLACEHOLDERS as readonly string[]).includes(name)) {
    const near = nearest(name, QUERY_PLACEHOLDERS);
    return `unknown placeholder "{{${name.slice(0, 40)}}}"${near === null ? '.' : `; did you mean "{{${near}}}"?`} ${allowed}`;
  }
  if (name === 'window' || context.startsWith('"') || context.startsWith("'")) return null;
  const where = context === 'code' ? 'outside of quotes' : `in a ${context}`;
  return `the placeholder "{{${name}}}" stands ${where}. Allowed: within quotes, as in service="{{service}}"; only {{window}} may stand anywhere.`;
}

/** Reads just as much of PromQL as is needed to know which text is quoted. */
function placeholders(template: string): Placeholder[] {
  const result: Placeholder[] = [];
  let context: Context = 'code';
  let index = 0;
  while (index < template.length) {
    if (template.startsWith('{{', index)) {
      const close = template.indexOf('}}', index + 2);
      const end = close === -1 ? template.length : close + 2;
      const name =
        close === -1
          ? `${template.slice(index + 2, index + 20)} (not closed)`
          : template.slice(index + 2, close).trim();
      result.push({ start: index, end, name, context });
      index = end;
      continue;
    }
    const escaped = template[index] === '\\' && (context.startsWith('"') || context.startsWith("'"));
    if (!escaped) context = contextAfter(template, index, context);
    index += escaped ? 2 : 1;
  }
  return result;
}

function contextAfter(template: string, index: number, context: Context): Context {
  const char = template[index];
  switch (context) {
    case 'code': {
      if (char === '#') return 'comment';
      if (char === '`') return 'raw string';
      if (char !== '"' && char !== "'") return 'code';
      return /[=!]~\s*$/.test(template.slice(Math.max(0, index - 20), index)) ? `${char} regex` : char;
    }
    case 'comment':
      return char === '\n' ? 'code' : 'comment';
    case 'raw string':
      return char === '`' ? 'code' : 'raw string';
    default:
      return char === context.charAt(0) ? 'code' : context;
  }
}
