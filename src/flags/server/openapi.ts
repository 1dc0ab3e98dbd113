import { z } from 'zod';
import { FlagDefaults } from '../defaults';
import { flagSchemas } from '../flag';
import { PROBLEMS } from '../problem';
import type { ProblemCode } from '../problem';
import type { Endpoint } from './endpoint';

const PROBLEM = {
  type: 'object',
  description: 'A problem document (RFC 9457).',
  required: ['type', 'title', 'status', 'detail', 'code'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What is wrong, in one sentence.' },
    code: { type: 'string', enum: Object.keys(PROBLEMS) },
    errors: {
      type: 'array',
      items: { type: 'object', properties: { where: { type: 'string' }, message: { type: 'string' } } },
    },
  },
};

/** What any request may be answered with. */
const ALWAYS: readonly ProblemCode[] = [
  'invalid-request',
  'unauthenticated',
  'forbidden',
  'internal',
  'issuer-unavailable',
];
const WITH_BODY: readonly ProblemCode[] = ['not-json', 'body-too-large', 'not-json-type'];

/** The OpenAPI 3.1 document of the REST endpoints, made of what parses their requests. */
export function openApiDocument(endpoints: readonly Endpoint[], version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const endpoint of endpoints) {
    const path = (paths[endpoint.path] ??= {});
    path[endpoint.method.toLowerCase()] = operation(endpoint);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Sluice feature flags',
      version,
      description: 'Flags by OFREP are under /ofrep/v1; its own document describes them.',
    },
    security: [{ bearer: [] }, { apiKey: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
      },
      schemas: { ...componentSchemas(), Problem: PROBLEM },
    },
  };
}

function componentSchemas(): Record<string, unknown> {
  const { schemas } = z.toJSONSchema(flagSchemas, {
    io: 'input',
    unrepresentable: 'any',
    metadata: flagSchemas,
    uri: (id) => `#/components/schemas/${id}`,
  });
  return Object.fromEntries(Object.entries(schemas).map(([id, schema]) => [id, cleaned(schema)]));
}

/** Without what makes a schema a document of its own. */
function cleaned(schema: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(schema).filter(([key]) => key !== '$schema' && key !== '$id' && key !== 'id' && key !== '~standard'),
  );
}

/** What adds something is made from no state of a flag. */
const ADDING: ReadonlySet<string> = new Set(['createFlag', 'postOutcomes']);

function operation(endpoint: Endpoint): Record<string, unknown> {
  const { id, summary, path, body, query, answers, writes, problems } = endpoint;
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { $ref: `#/components/schemas/${name === 'user_id' ? 'UserId' : 'FlagName'}` },
  }));
  const headers = writes
    ? [
        ...(ADDING.has(id) ? [] : [header('If-Match', 'The ETag of the state this change was made from, or *.')]),
        header('Idempotency-Key', 'The same key with the same request is carried out once, for 24 hours.', {
          minLength: 1,
          maxLength: FlagDefaults.maxIdempotencyKeyLength,
        }),
      ]
    : endpoint.conditional
      ? [header('If-None-Match', 'The ETag of what is known already.')]
      : [];
  return {
    operationId: id,
    summary,
    parameters: [...named, ...queryParameters(query), ...headers],
    ...(body === null
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: reference(body) } } } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, { description, schema }]) => [
          status,
          {
            description,
            ...(schema === null ? {} : { content: { 'application/json': { schema: reference(schema) } } }),
          },
        ]),
      ),
      ...problemResponses([...ALWAYS, ...(body === null ? [] : WITH_BODY), ...problems]),
    },
  };
}

function header(
  name: string,
  description: string,
  bounds: { minLength?: number; maxLength?: number } = {},
): Record<string, unknown> {
  return { name, in: 'header', description, schema: { type: 'string', ...bounds } };
}

function queryParameters(query: z.ZodType | null): Record<string, unknown>[] {
  if (query === null) return [];
  // As what they are read as: a number in a query is a text only on its way.
  const { properties = {} } = z.toJSONSchema(query, { io: 'output', unrepresentable: 'any' });
  return Object.entries(properties).map(([name, schema]) => ({ name, in: 'query', schema }));
}

function reference(schema: z.ZodType): Record<string, unknown> {
  const id = flagSchemas.get(schema)?.id;
  if (id === undefined) throw new Error('a schema of an endpoint has no name');
  return { $ref: `#/components/schemas/${id}` };
}

function problemResponses(codes: readonly ProblemCode[]): Record<string, unknown> {
  const unique = [...new Set(codes)];
  const statuses = [...new Set(unique.map((code) => PROBLEMS[code].status))];
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: unique
          .filter((code) => PROBLEMS[code].status === status)
          .map((code) => `${code}: ${PROBLEMS[code].title}.`)
          .join(' '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );
}
