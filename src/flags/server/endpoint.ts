import type { z } from 'zod';
import { mayAnywhere } from '../access';
import type { Principal, Role } from '../access';
import type { WriteRequest } from '../flag-service';
import { FlagProblem } from '../problem';
import type { ProblemCode, ProblemField } from '../problem';

/** A request as an endpoint sees it: known, parsed, and in bounds. */
export interface Asked<Body, Query> {
  readonly principal: Principal;
  readonly params: Readonly<Record<string, string>>;
  readonly body: Body;
  readonly query: Query;
  readonly ifNoneMatch: string | undefined;
  /** What a write needs to know beside its body. */
  readonly write: () => WriteRequest;
}

/** What an endpoint answers; the headers may name another type than JSON's. */
export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** One endpoint: how it is reached, what it takes and gives, and what it does. The OpenAPI document is made of the same. */
export interface Endpoint {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** With `{name}` for a parameter. */
  readonly path: string;
  readonly id: string;
  readonly summary: string;
  /** The least that is needed in some environment; the service looks more closely. */
  readonly role: Role;
  readonly body: z.ZodType | null;
  readonly query: z.ZodType | null;
  readonly bodyLimit: number;
  readonly answers: Readonly<Record<number, { readonly description: string; readonly schema: z.ZodType | null }>>;
  /** Takes If-Match and Idempotency-Key. */
  readonly writes: boolean;
  /** Takes If-None-Match. */
  readonly conditional: boolean;
  readonly problems: readonly ProblemCode[];
  /** A POST about one flag that comes so often that it is answered before anything else looks at it. */
  readonly hot: boolean;
  readonly handle: (asked: Asked<unknown, unknown>) => Answer | Promise<Answer>;
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

/** Problems named of one body; a list of ten thousand wrong users needs not more. */
const MAX_FIELDS = 20;

/** What a request asks of an endpoint, if it may and is in bounds. */
export function carryOut(endpoint: Endpoint, asked: Asked<unknown, unknown>): Answer | Promise<Answer> {
  const { principal, body, query } = asked;
  if (!mayAnywhere(principal, endpoint.role)) {
    throw new FlagProblem(
      'forbidden',
      `${principal.id} may not ${endpoint.role === 'report' ? 'report outcomes of' : endpoint.role} flags anywhere.`,
    );
  }
  return endpoint.handle({
    principal,
    params: asked.params,
    ifNoneMatch: asked.ifNoneMatch,
    body: endpoint.body === null ? undefined : parsed(endpoint.body, body, 'body'),
    query: endpoint.query === null ? undefined : parsed(endpoint.query, query, 'query'),
    write: asked.write,
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
