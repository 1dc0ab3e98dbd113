import { z } from 'zod';
import { nearest } from './nearest';
import { DURATION_PATTERN, formatDuration, parseDuration } from './units';

/**
 * The kinds of value a spec is made of. Their `$comment` in the JSON Schema says what is allowed in a word or two. Each field's message is a whole sentence that begins with what was found and
 * ends with what is allowed; the file, the line and the key are put before it by `problems.ts`.
 */

/** What a person wrote, short enough for a message: quoted text, a number, `a list`. */
export function found(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : String(value);
}

/** `"x" is not known; did you mean "y"? Allowed: y, z.` */
export function notOneOf(value: unknown, allowed: readonly string[]): string {
  const near = typeof value === 'string' ? nearest(value, allowed) : null;
  const hint = near === null ? '.' : `; did you mean "${near}"?`;
  return `${found(value)} is not known${hint} Allowed: ${allowed.join(', ')}.`;
}

export function choice<const T extends readonly [string, ...string[]]>(values: T): z.ZodEnum<{ [K in T[number]]: K }> {
  return z.enum(values, { error: (issue) => notOneOf(issue.input, values) }) as z.ZodEnum<{ [K in T[number]]: K }>;
}

/** Text that matches `pattern`. With `secretive`, what was found is not repeated: it might be a secret put there by mistake. */
export function text(options: {
  pattern: RegExp;
  allowed: string;
  maxLength: number;
  secretive?: boolean;
}): z.ZodString {
  const error = (issue: { input?: unknown }): string =>
    `${options.secretive === true ? 'the value' : found(issue.input)} is not allowed here. Allowed: ${options.allowed}.`;
  return z
    .string({ error })
    .max(options.maxLength, { error, abort: true })
    .regex(options.pattern, { error })
    .meta({ $comment: options.allowed });
}

/** A duration, in milliseconds once parsed. */
export function duration(bounds: readonly [string, string]): z.ZodPipe<z.ZodString, z.ZodTransform<number, string>> {
  const [min, max] = bounds.map(milliseconds) as [number, number];
  const allowed = `Allowed: a duration with its unit, from ${bounds[0]} to ${bounds[1]}, such as ${examples(min, max)}.`;
  const wrongType = (issue: { input?: unknown }): string =>
    `${found(issue.input)} ${typeof issue.input === 'number' ? 'has no unit' : 'is not a duration'}. ${allowed}`;
  return z
    .string({ error: wrongType })
    .meta({ pattern: DURATION_PATTERN, $comment: `duration, ${bounds[0]} to ${bounds[1]}` })
    .transform((input, context) => {
      const parsed = parseDuration(input);
      const reason = parsed.ok ? outside(parsed.value, { min, max, format: formatDuration }) : parsed.reason;
      if (parsed.ok && reason === null) return parsed.value;
      context.addIssue({ code: 'custom', message: `${found(input)} ${reason ?? ''}. ${allowed}` });
      return z.NEVER;
    });
}

function examples(min: number, max: number): string {
  const fitting = ['500ms', '5s', '60s', '5m', '1h30m'].filter(
    (text) => milliseconds(text) >= min && milliseconds(text) <= max,
  );
  const [last, ...others] = fitting.slice(-3).reverse();
  return others.length === 0 ? (last ?? '') : `${others.reverse().join(', ')} or ${last}`;
}

/** Milliseconds of a duration of our own that is known to be well formed. */
export function milliseconds(duration: string): number {
  const parsed = parseDuration(duration);
  if (!parsed.ok) throw new Error(`${duration} ${parsed.reason}`);
  return parsed.value;
}

export function wholeNumber(bounds: readonly [number, number]): z.ZodInt {
  return bounded(z.int({ error: numberError('a whole number', bounds) }), 'a whole number', bounds);
}

export function decimal(bounds: readonly [number, number]): z.ZodNumber {
  return bounded(z.number({ error: numberError('a number', bounds) }), 'a number', bounds);
}

/** An http or https address without credentials, query or fragment; a slash at its end is dropped. */
export function httpUrl(): z.ZodPipe<z.ZodString, z.ZodTransform<string, string>> {
  const allowed = 'Allowed: an http:// or https:// address, such as http://10.0.0.7:3000.';
  return z
    .string({ error: (issue) => `${found(issue.input)} is not an address. ${allowed}` })
    .max(2_000, { error: `the address is longer than 2000 characters. ${allowed}`, abort: true })
    .meta({
      $comment: 'http or https address without credentials',
      pattern: '^[hH][tT][tT][pP][sS]?://[^/?#@\\s]+(/[^?#\\s]*)?$',
    })
    .transform((input, context) => {
      const reason = whyNoHttpUrl(input);
      if (reason === null) return input.replace(/\/+$/, '');
      context.addIssue({ code: 'custom', message: `${reason}. ${allowed}` });
      return z.NEVER;
    });
}

/** A mapping with exactly these keys; anything else in it is reported as an unknown key. `title` names it in messages. */
export function mapping<T extends z.core.$ZodLooseShape>(title: string, shape: T): z.ZodObject<T, z.core.$strict> {
  const error = (issue: { code?: string; input?: unknown }): string | undefined =>
    issue.code === 'invalid_type'
      ? `${found(issue.input)} is not allowed here. Allowed: ${mappingOf(shape)}.`
      : undefined;
  return z.strictObject(shape, { error }).meta({ title });
}

/** A mapping of which exactly one key is chosen, as in `target: { router: … }`. */
export function oneOf<T extends z.core.$ZodLooseShape>(title: string, shape: T): z.ZodObject<T, z.core.$strict> {
  const keys = Object.keys(shape);
  return mapping(title, shape)
    .superRefine((value, context) => {
      const chosen = keys.filter((key) => (value as Record<string, unknown>)[key] !== undefined);
      if (chosen.length === 1) return;
      const what = chosen.length === 0 ? 'nothing is chosen' : `${chosen.join(' and ')} are given together`;
      context.addIssue({
        code: 'custom',
        message: `${what}. Allowed: exactly one of ${keys.join(', ')}.`,
        params: { absence: chosen.length === 0 },
      });
    })
    .meta({ title, minProperties: 1, maxProperties: 1 });
}

export function list<T extends z.ZodType>(
  element: T,
  options: { what: string; bounds: readonly [number, number] },
): z.ZodArray<T> {
  const [min, max] = options.bounds;
  const error = (issue: { input?: unknown }): string =>
    `${Array.isArray(issue.input) ? `a list of ${issue.input.length}` : found(issue.input)} is not allowed here. ` +
    `Allowed: a list of ${min} to ${max} ${options.what}.`;
  return z
    .array(element, { error })
    .min(min, { error })
    .max(max, { error })
    .meta({ $comment: `list of ${min} to ${max} ${options.what}` });
}

/** `false`, or the mapping. */
export function orFalse<T extends z.ZodObject>(schema: T): z.ZodUnion<[z.ZodLiteral<false>, T]> {
  return z.union([z.literal(false), schema], {
    error: (issue) => `${found(issue.input)} is not allowed here. Allowed: false, or ${mappingOf(schema.shape)}.`,
  });
}

function mappingOf(shape: z.core.$ZodLooseShape): string {
  const keys = Object.keys(shape);
  return keys.length === 0 ? 'an empty mapping, {}' : `a mapping with the keys ${keys.join(', ')}`;
}

function bounded<T extends z.ZodNumber>(schema: T, what: string, bounds: readonly [number, number]): T {
  const error = numberError(what, bounds);
  return schema.min(bounds[0], { error }).max(bounds[1], { error });
}

function numberError(what: string, [min, max]: readonly [number, number]): (issue: { input?: unknown }) => string {
  return (issue) => `${found(issue.input)} is not allowed here. Allowed: ${what} from ${min} to ${max}.`;
}

function outside(value: number, range: { min: number; max: number; format: (value: number) => string }): string | null {
  if (value < range.min) return `is below ${range.format(range.min)}`;
  return value > range.max ? `is above ${range.format(range.max)}` : null;
}

function whyNoHttpUrl(input: string): string | null {
  let url: URL;
  try {
    url = new URL(input);
  } catch {
    return `${found(withoutUserInfo(input))} is not an address`;
  }
  if (url.username !== '' || url.password !== '' || input.includes('@')) {
    return 'the address carries credentials, which do not belong into a spec';
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return `${found(input)} is neither http nor https`;
  if (!/^https?:\/\//i.test(input) || /\s/.test(input)) return `${found(input)} is not an address`;
  if (/[?#]/.test(input)) return 'the address has a query or a fragment';
  // Link-local addresses are where clouds keep their credentials; no service to release is there.
  if (/^(169\.254\.|\[fe[89ab]|\[fd00:ec2:|\[::ffff:a9fe:)/i.test(url.hostname)) {
    return `${found(input)} is a link-local or cloud metadata address`;
  }
  return null;
}

function withoutUserInfo(input: string): string {
  return input.includes('@') ? input.replace(/^.*@/s, '***@') : input;
}
