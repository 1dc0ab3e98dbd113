import { Ajv2020 } from 'ajv/dist/2020';

/**
 * What OFREP 0.3 says of answers (open-feature/protocol, service/openapi.yaml), as far as the service gives them; with
 * what SDKs of several languages demand beyond it: key, reason and variant are always there.
 */
const definitions = {
  metadata: { type: 'object', additionalProperties: { type: ['boolean', 'string', 'number'] } },
  success: {
    type: 'object',
    required: ['key', 'reason', 'variant'],
    properties: {
      key: { type: 'string' },
      reason: { enum: ['STATIC', 'TARGETING_MATCH', 'SPLIT', 'DISABLED', 'UNKNOWN'] },
      variant: { type: 'string' },
      value: { type: ['boolean', 'string', 'number', 'object'] },
      metadata: { $ref: '#/definitions/metadata' },
    },
    additionalProperties: false,
  },
  failure: {
    type: 'object',
    required: ['key', 'errorCode', 'errorDetails'],
    properties: {
      key: { type: 'string' },
      errorCode: { enum: ['PARSE_ERROR', 'TARGETING_KEY_MISSING', 'INVALID_CONTEXT', 'GENERAL'] },
      errorDetails: { type: 'string' },
    },
    additionalProperties: false,
  },
  notFound: {
    type: 'object',
    required: ['key', 'errorCode', 'errorDetails'],
    properties: { key: { type: 'string' }, errorCode: { const: 'FLAG_NOT_FOUND' }, errorDetails: { type: 'string' } },
    additionalProperties: false,
  },
  bulk: {
    type: 'object',
    required: ['flags'],
    properties: {
      flags: {
        type: 'array',
        items: { oneOf: [{ $ref: '#/definitions/success' }, { $ref: '#/definitions/failure' }] },
      },
      metadata: { $ref: '#/definitions/metadata' },
      eventStreams: {
        type: 'array',
        items: {
          type: 'object',
          required: ['type'],
          properties: {
            type: { type: 'string' },
            url: { type: 'string' },
            endpoint: {
              type: 'object',
              required: ['requestUri'],
              properties: { origin: { type: 'string' }, requestUri: { type: 'string' } },
            },
            inactivityDelaySec: { type: 'integer', minimum: 1 },
          },
          oneOf: [{ required: ['url'] }, { required: ['endpoint'] }],
        },
      },
    },
    additionalProperties: false,
  },
  bulkFailure: {
    type: 'object',
    required: ['errorCode', 'errorDetails'],
    properties: { errorCode: { type: 'string' }, errorDetails: { type: 'string' } },
    additionalProperties: false,
  },
  event: {
    type: 'object',
    required: ['type'],
    properties: { type: { const: 'refetchEvaluation' }, etag: { type: 'string' }, lastModified: { type: 'integer' } },
  },
};

/** What the protocol lets a client send; null, for no context or no user, is what some SDKs send, and the service takes. */
const request = {
  type: 'object',
  properties: { context: { type: ['object', 'null'], properties: { targetingKey: { type: ['string', 'null'] } } } },
};

/** The protocol's two evaluations as an OpenAPI document, with each status it has for them. */
export function ofrepDocument(): Record<string, unknown> {
  const answer = (description: string, kind?: keyof typeof definitions): object => ({
    description,
    ...(kind === undefined
      ? {}
      : { content: { 'application/json': { schema: { $ref: `#/components/schemas/${kind}` } } } }),
  });
  const requestBody = { content: { 'application/json': { schema: request } } };
  const common = {
    401: answer('nobody is known by this key'),
    403: answer('not allowed with this key'),
    500: answer('the service failed', 'bulkFailure'),
  };
  return {
    openapi: '3.1.0',
    info: { title: 'OFREP', version: '0.3.0' },
    security: [{ bearer: [] }, { apiKey: [] }],
    paths: {
      '/ofrep/v1/evaluate/flags/{key}': {
        post: {
          operationId: 'one',
          parameters: [{ name: 'key', in: 'path', required: true, schema: { type: 'string' } }],
          requestBody,
          responses: {
            200: answer('evaluated', 'success'),
            400: answer('not evaluated', 'failure'),
            404: answer('no such flag', 'notFound'),
            ...common,
          },
        },
      },
      '/ofrep/v1/evaluate/flags': {
        post: {
          operationId: 'all',
          parameters: [{ name: 'If-None-Match', in: 'header', schema: { type: 'string' } }],
          requestBody,
          responses: {
            200: {
              ...answer('evaluated', 'bulk'),
              headers: { ETag: { required: true, schema: { type: 'string' } } },
            },
            304: answer('as it was'),
            400: answer('not evaluated', 'bulkFailure'),
            ...common,
          },
        },
      },
    },
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
      },
      schemas: JSON.parse(JSON.stringify(definitions).replaceAll('#/definitions/', '#/components/schemas/')) as object,
    },
  };
}

const ajv = new Ajv2020({ strict: false });
ajv.addSchema({ $id: 'ofrep', definitions });

/** Fails the test when a document is not what the protocol says. */
export function expectOfrep(kind: keyof typeof definitions, document: unknown): void {
  const valid = ajv.getSchema(`ofrep#/definitions/${kind}`);
  if (valid?.(document) === true) return;
  throw new Error(`no ${kind} of OFREP: ${ajv.errorsText(valid?.errors)} in ${JSON.stringify(document)}`);
}
