import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { mayAnywhere } from '../access';
import type { Principal, Role } from '../access';
import type { WriteRequest } from '../flag-service';
import { FlagProblem } from '../problem';
import type { ProblemField } from '../problem';

/** A request as an endpoint sees it: known, parsed, and in bounds. */
export interface Asked<Body, Query> {
  readonly principal: Principal;
  readonly params: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly query: Query;
  readonly ifNoneMatch: string | undefined;
  /** Of a stream that is taken up again. */
  readonly lastEventId: string | undefined;
  /** What a write needs to know beside its body. */
  readonly write: () => WriteRequest;
  /** What the audit is to say of a change, also when it is refused after all. */
  readonly note: (details: Readonly<Record<string, unknown>>) => void;
}

/** What an endpoint answers; the headers may name another type than JSON's. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
  /** In place of a body: takes over the response, whose head is not written yet. */
  readonly stream?: (response: ServerResponse) => void;
}

/** One endpoint: how it is reached, what it takes and gives, and what it does. The OpenAPI document is made of the same. */
export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `{name}` for a parameter. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** What it is about, by which the grants are looked up. */
  readonly of: 'flags' | 'releases';
  /** The least that is needed in some environment or namespace; the service looks more closely. null: to be known. */
  readonly role: Role | null;
  readonly body: z.ZodType | null;
  readonly query: z.ZodType | null;
  /** No body at all says the same as an empty object. */
  readonly bodyOptional?: true;
  /** A body of application/yaml stands for an object that has its text under this name. */
  readonly yamlAs?: string;
  readonly bodyLimit: number;
  readonly answers: Readonly<Record<number, EndpointAnswer>>;
  /** `changes` takes If-Match and Idempotency-Key; `adds`, which is made from no state, the latter alone. */
  readonly writes: 'adds' | 'changes' | null;
  /** Takes If-None-Match. */
  readonly conditional: boolean;
  /** By their codes. */
  readonly problems: readonly string[];
  /** A POST about one flag that comes so often that it is answered before anything else looks at it. */
  readonly hot: boolean;
  readonly handle: (asked: Asked<unknown, unknown>) => Answer | Promise<Answer>;
}

export interface EndpointAnswer {
  readonly description: string;
  readonly schema: z.ZodType | null;
  /** Of what has no schema, and yet a body. */
  readonly type?: string;
}

/** An endpoint whose handler knows the types of its body and query. */
export function endpoint<Body extends z.ZodType, Query extends z.ZodType>(
  description: Omit<Endpoint, 'handle' | 'body' | 'query'> & {
    readonly body: Body | null;
    readonly query: Query | null;
    readonly handle: (asked: Asked<z.output<Body>, z.output<Query>>) => Answer | Promise<Answer>;
  },
): Endpoint {
  // What the handler is given was parsed by these very schemas.
  return description as unknown as Endpoint;
}

/** A whole number in a query. */
export function whole(least: number, most: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^\d{1,6}$/, 'a whole number')
    .transform(Number)
    .pipe(z.int().min(least).max(most));
}

/** Problems named of one body; a list of ten thousand wrong users needs not more. */
const MAX_FIELDS = 20;

/** What a request asks of an endpoint, if it may and is in bounds. */
export function carryOut(endpoint: Endpoint, asked: Asked<unknown, unknown>): Answer | Promise<Answer> {
  const { principal, query } = asked;
  const { role, of: what } = endpoint;
  if (role !== null && !mayAnywhere(principal, role, what)) {
    throw new FlagProblem(
      'forbidden',
      `${principal.id} may not ${role === 'report' ? 'report outcomes of' : role} ${what} anywhere.`,
    );
  }
  const body = asked.body ?? (endpoint.bodyOptional === true ? {} : undefined);
  return endpoint.handle({
    principal,
    params: asked.params,
    ifNoneMatch: asked.ifNoneMatch,
    lastEventId: asked.lastEventId,
    body: endpoint.body === null ? undefined : parsed(endpoint.body, body, 'body'),
    query: endpoint.query === null ? undefined : parsed(endpoint.query, query, 'query'),
    write: asked.write,
    note: asked.note,
  });
}

/** Parses, or refuses with one sentence about everything that is wrong. */
function parsed(schema: z.ZodType, value: unknown, where: 'body' | 'query'): unknown {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const fields = result.error.issues.slice(0, MAX_FIELDS).map(({ path, message }): ProblemField => ({
    where: where === 'query' ? `?${path.join('.')}` : `/${path.map(String).join('/')}`,
    message,
  }));
  const sentence = fields.map((field) => `${field.where}: ${field.message.replace(/\.$/, '')}`).join('; ');
  throw new FlagProblem('invalid-request', `The ${where} is not valid: ${sentence}.`, { errors: fields });
}
