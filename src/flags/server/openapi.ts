import { z } from 'zod';
import { FlagDefaults } from '../defaults';
import type { SchemaMeta } from '../flag';
import { PROBLEMS } from '../problem';
import type { ProblemCode, ProblemKind } from '../problem';
import type { Endpoint } from './endpoint';

/** The schemas of one service, by the names they have in the document. */
export type SchemaRegistry = z.core.$ZodRegistry<SchemaMeta>;

/** What the OpenAPI document is made of: the endpoints of one service. */
export interface DescribedApi {
  readonly endpoints: readonly Endpoint[];
  readonly schemas: SchemaRegistry;
  /** The schema of each parameter in their paths. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Problems of its own, beside those of every service. */
  readonly problems: Readonly<Record<string, ProblemKind>>;
}

const problemSchema = (problems: Readonly<Record<string, ProblemKind>>): Record<string, unknown> => ({
  type: 'object',
  description: 'A problem document (RFC 9457).',
  required: ['type', 'title', 'status', 'detail', 'code'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string', description: 'What is wrong, in one sentence.' },
    code: { type: 'string', enum: Object.keys(problems) },
    errors: {
      type: 'array',
      items: { type: 'object', properties: { where: { type: 'string' }, message: { type: 'string' } } },
    },
  },
});

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
export function openApiDocument(
  apis: readonly DescribedApi[],
  { title, version }: { readonly title: string; readonly version: string },
): Record<string, unknown> {
  const problems: Record<string, ProblemKind> = { ...PROBLEMS };
  for (const api of apis) Object.assign(problems, api.problems);
  const paths: Record<string, Record<string, unknown>> = {};
  for (const api of apis) {
    for (const endpoint of api.endpoints) {
      const path = (paths[endpoint.path] ??= {});
      path[endpoint.method.toLowerCase()] = operation(endpoint, api, problems);
    }
  }
  return {
    openapi: '3.1.0',
    info: {
      title,
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
      schemas: Object.assign({}, ...apis.map(({ schemas }) => componentSchemas(schemas)), {
        Problem: problemSchema(problems),
      }) as Record<string, unknown>,
    },
  };
}

function componentSchemas(registry: SchemaRegistry): Record<string, unknown> {
  const { schemas } = z.toJSONSchema(registry, {
    io: 'input',
    unrepresentable: 'any',
    metadata: registry,
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

function operation(
  endpoint: Endpoint,
  api: DescribedApi,
  kinds: Readonly<Record<string, ProblemKind>>,
): Record<string, unknown> {
  const { id, summary, path, body, query, answers, writes, problems, yamlAs } = endpoint;
  const reference = (schema: z.ZodType): Record<string, unknown> => referenceIn(api.schemas, schema);
  const named = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: { $ref: `#/components/schemas/${api.parameters[name] ?? unnamed()}` },
  }));
  const headers = writes
    ? [
        ...(writes === 'adds' ? [] : [header('If-Match', 'The ETag of the state this change was made from, or *.')]),
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
      : {
          requestBody: {
            required: endpoint.bodyOptional !== true,
            content: {
              'application/json': { schema: reference(body) },
              ...(yamlAs === undefined ? {} : { 'application/yaml': { schema: { type: 'string' } } }),
            },
          },
        }),
    responses: {
      ...Object.fromEntries(
        Object.entries(answers).map(([status, { description, schema, type }]) => [
          status,
          {
            description,
            ...(schema === null ? {} : { content: { 'application/json': { schema: reference(schema) } } }),
            ...(type === undefined ? {} : { content: { [type]: {} } }),
          },
        ]),
      ),
      ...problemResponses([...ALWAYS, ...(body === null ? [] : WITH_BODY), ...problems], kinds),
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

function referenceIn(registry: SchemaRegistry, schema: z.ZodType): Record<string, unknown> {
  return { $ref: `#/components/schemas/${registry.get(schema)?.id ?? unnamed()}` };
}

function unnamed(): never {
  throw new Error('a schema of an endpoint has no name');
}

function problemResponses(
  codes: readonly string[],
  kinds: Readonly<Record<string, ProblemKind>>,
): Record<string, unknown> {
  const unique = [...new Set(codes)].map((code) => {
    const kind = kinds[code];
    if (kind === undefined) throw new Error(`no problem is called ${code}`);
    return { code, ...kind };
  });
  const statuses = [...new Set(unique.map(({ status }) => status))];
  return Object.fromEntries(
    statuses.map((status) => [
      status,
      {
        description: unique
          .filter((one) => one.status === status)
          .map(({ code, title }) => `${code}: ${title}.`)
          .join(' '),
        content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    ]),
  );
}
