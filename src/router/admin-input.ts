import { isSalt, isVersion, isWeight, SALT_RULE, VERSION_RULE } from './config';
import { RouterDefaults } from './defaults';
import type {
  DeclareRequest,
  Fence,
  InputError,
  PromoteRequest,
  RemoveRequest,
  RollbackRequest,
  WeightRequest,
} from './protocol';

/** A value read from outside, or everything that is wrong with it. */
export type Parsed<T> =
  { readonly ok: true; readonly value: T } | { readonly ok: false; readonly errors: readonly InputError[] };

const MAX_REASON_LENGTH = 500;
const MAX_ACTOR_LENGTH = 200;

/** Reads the body of `PUT /canary/release`. */
export function parseDeclare(body: object): Parsed<DeclareRequest> {
  const fields = new Fields(body, ['version', 'salt', 'fence', 'rearm']);
  const version = fields.required('version', isVersion, VERSION_RULE);
  const salt = fields.required('salt', isSalt, SALT_RULE);
  const fence = fields.fence();
  const rearm = fields.optional('rearm', (value) => typeof value === 'boolean', 'true or false');
  return fields.finish(() => ({ version: version ?? '', salt: salt ?? '', ...given({ fence, rearm }) }));
}

/** Reads the body of `PUT /canary/weight`. */
export function parseWeight(body: object): Parsed<WeightRequest> {
  const fields = new Fields(body, ['weight', 'fence']);
  const weight = fields.required('weight', isWeight, 'a number from 0 to 100 (percent, not a text)');
  const fence = fields.fence();
  return fields.finish(() => ({ weight: weight ?? 0, ...given({ fence }) }));
}

/** Reads the body of `POST /canary/promote`. */
export function parsePromote(body: object): Parsed<PromoteRequest> {
  const fields = new Fields(body, ['version', 'fence']);
  const version = fields.required('version', isVersion, VERSION_RULE);
  const fence = fields.fence();
  return fields.finish(() => ({ version: version ?? '', ...given({ fence }) }));
}

/** Reads the body of `DELETE /canary/release`. */
export function parseRemove(body: object): Parsed<RemoveRequest> {
  const fields = new Fields(body, ['fence']);
  const fence = fields.fence();
  return fields.finish(() => given({ fence }));
}

/** Reads the body of `POST /canary/rollback`. */
export function parseRollback(body: object): Parsed<RollbackRequest> {
  const fields = new Fields(body, ['reason', 'actor']);
  const reason = fields.required('reason', isText(MAX_REASON_LENGTH), `a text of 1 to ${MAX_REASON_LENGTH} characters`);
  const actor = fields.optional('actor', isText(MAX_ACTOR_LENGTH), `a text of 1 to ${MAX_ACTOR_LENGTH} characters`);
  return fields.finish(() => ({ reason: reason ?? '', ...given({ actor }) }));
}

/** Reads a body that says nothing. */
export function parseEmpty(body: object): Parsed<object> {
  return new Fields(body, []).finish(() => ({}));
}

/** Reads the query of `GET /canary/metrics`: the window in seconds. */
export function parseWindow(query: URLSearchParams): Parsed<number> {
  const longest = RouterDefaults.windowSeconds;
  const errors: InputError[] = [];
  for (const name of new Set(query.keys())) {
    if (name !== 'window') errors.push({ where: `?${name}`, found: shown(query.get(name)), allowed: 'only window' });
  }
  const [text, ...more] = query.getAll('window');
  const seconds = Number(text ?? longest);
  const valid = text === undefined || (/^\d{1,3}$/.test(text) && seconds >= 1 && seconds <= longest);
  if (!valid || more.length > 0) {
    errors.push({
      where: '?window',
      found: shown(more.length > 0 ? [text, ...more] : text),
      allowed: `one integer from 1 to ${longest} (seconds)`,
    });
  }
  return errors.length > 0 ? { ok: false, errors } : { ok: true, value: seconds };
}

/** Collects what is wrong with the fields of one object. */
class Fields {
  readonly #body: object;
  readonly #prefix: string;
  readonly #errors: InputError[];

  constructor(body: object, known: readonly string[], prefix = '', errors: InputError[] = []) {
    this.#body = body;
    this.#prefix = prefix;
    this.#errors = errors;
    for (const key of Object.keys(body)) {
      if (known.includes(key)) continue;
      const allowed = known.length === 0 ? 'no fields at all' : `only the fields ${known.join(', ')}`;
      errors.push({ where: `${prefix}/${shortened(key)}`, found: 'an unknown field', allowed });
    }
  }

  required<T>(name: string, ok: (value: unknown) => value is T, allowed: string): T | undefined {
    const value = this.#get(name);
    if (ok(value)) return value;
    this.#errors.push({ where: `${this.#prefix}/${name}`, found: shown(value), allowed });
    return undefined;
  }

  optional<T>(name: string, ok: (value: unknown) => value is T, allowed: string): T | undefined {
    return this.#get(name) === undefined ? undefined : this.required(name, ok, allowed);
  }

  fence(): Fence | undefined {
    const body = this.optional('fence', isObject, 'an object with release, epoch, step and attempt');
    if (body === undefined) return undefined;
    const fields = new Fields(body, ['release', 'epoch', 'step', 'attempt'], '/fence', this.#errors);
    const release = fields.required('release', isSalt, SALT_RULE);
    const epoch = fields.required('epoch', isPosition, 'an integer from 0');
    const step = fields.required('step', isPosition, 'an integer from 0');
    const attempt = fields.required('attempt', isPosition, 'an integer from 0');
    return { release: release ?? '', epoch: epoch ?? 0, step: step ?? 0, attempt: attempt ?? 0 };
  }

  /** The value built by `build`, unless anything was wrong. */
  finish<T>(build: () => T): Parsed<T> {
    return this.#errors.length > 0 ? { ok: false, errors: this.#errors } : { ok: true, value: build() };
  }

  #get(name: string): unknown {
    return Object.hasOwn(this.#body, name) ? (this.#body as Record<string, unknown>)[name] : undefined;
  }
}

/** The members that are there: exact optional properties may not be undefined. */
function given<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]?: Exclude<T[K], undefined> };
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPosition(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isText(longest: number): (value: unknown) => value is string {
  return (value): value is string => typeof value === 'string' && value.trim() !== '' && value.length <= longest;
}

function shown(value: unknown): string {
  return value === undefined ? 'nothing' : shortened(JSON.stringify(value) ?? typeof value);
}

function shortened(text: string): string {
  return text.length <= 80 ? text : `${text.slice(0, 79)}…`;
}
