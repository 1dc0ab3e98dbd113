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

const ajv = new Ajv2020({ strict: false });
ajv.addSchema({ $id: 'ofrep', definitions });

/** Fails the test when a document is not what the protocol says. */
export function expectOfrep(kind: keyof typeof definitions, document: unknown): void {
  const valid = ajv.getSchema(`ofrep#/definitions/${kind}`);
  if (valid?.(document) === true) return;
  throw new Error(`no ${kind} of OFREP: ${ajv.errorsText(valid?.errors)} in ${JSON.stringify(document)}`);
}
