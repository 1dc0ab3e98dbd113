import { z } from 'zod';
import { releaseSchema } from './schema';

/** The part of JSON Schema (draft 2020-12) that ours is made of. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly $id?: string;
  /** What is allowed, in a word or two. */
  readonly $comment?: string;
  readonly title?: string;
  readonly description?: string;
  readonly type?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}

/** JSON Schema of release.yaml, generated from the schema that validates it; editors complete and check with it. */
export function releaseJsonSchema(): JsonSchema {
  const { $schema, ...schema } = z.toJSONSchema(releaseSchema, {
    target: 'draft-2020-12',
    io: 'input',
    override: ({ jsonSchema }) => {
      // A default that is filled in later, because it depends on other keys: editors should offer it all the same.
      if (jsonSchema.usually !== undefined) jsonSchema.default = jsonSchema.usually as string | number;
      delete jsonSchema.usually;
    },
  }) as JsonSchema;
  return { ...($schema === undefined ? {} : { $schema }), $id: 'https://sluice.dev/schema/v1/release.json', ...schema };
}

/** The mapping's schema at a path of a document; null where none is meant to be. */
export function mappingSchemaAt(path: readonly PropertyKey[]): JsonSchema | null {
  let schema: JsonSchema | undefined = cachedSchema();
  for (const key of path) {
    const mapping: JsonSchema | undefined = mappingOf(schema);
    schema = typeof key === 'number' ? schema?.items : mapping?.properties?.[String(key)];
    if (schema === undefined) return null;
  }
  return mappingOf(schema) ?? null;
}

/** Paths of the mappings that know a key, as people write them: `spec.steps[]`. */
export function placesOfKey(key: string): string[] {
  const places = new Set<string>();
  const walk = (schema: JsonSchema, path: string): void => {
    for (const option of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) walk(option, path);
    if (schema.items !== undefined) walk(schema.items, `${path}[]`);
    const properties = schema.properties ?? {};
    if (Object.hasOwn(properties, key)) places.add(path);
    for (const [name, inner] of Object.entries(properties)) walk(inner, path === '' ? name : `${path}.${name}`);
  };
  walk(cachedSchema(), '');
  return [...places];
}

let cache: JsonSchema | undefined;

function cachedSchema(): JsonSchema {
  cache ??= releaseJsonSchema();
  return cache;
}

function mappingOf(schema: JsonSchema | undefined): JsonSchema | undefined {
  if (schema?.properties !== undefined) return schema;
  return schema?.anyOf?.find((option) => option.properties !== undefined);
}
