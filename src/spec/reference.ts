import { releaseJsonSchema } from './json-schema';
import type { JsonSchema } from './json-schema';

/** docs/spec.md's tables: every key with what is allowed, its default and its consequence, from the schema itself. */
export function specReference(): string {
  const sections: string[] = [];
  collect(releaseJsonSchema(), '', sections);
  return sections.join('\n\n');
}

function collect(schema: JsonSchema, path: string, sections: string[]): void {
  const properties = Object.entries(schema.properties ?? {});
  if (properties.length > 0) sections.push(section(schema, path));
  for (const [key, property] of properties) {
    const inner = mappingOf(property);
    if (inner !== null)
      collect(inner.schema, `${path === '' ? '' : `${path}.`}${key}${inner.list ? '[]' : ''}`, sections);
  }
}

function section(schema: JsonSchema, path: string): string {
  const rows = Object.entries(schema.properties ?? {}).map(([key, property]) => {
    const required = schema.required?.includes(key) === true;
    const cells = [
      `\`${key}\``,
      typeOf(property),
      defaultOf(property, required),
      property.description ?? inherited(property),
    ];
    return `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('<', '&lt;')).join(' | ')} |`;
  });
  return [
    `### ${path === '' ? 'The document' : `\`${path}\``}`,
    '',
    '| key | allowed | default | meaning |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

/** The mapping a key leads to, be it in a list or beside `false`; null for plain values. */
function mappingOf(schema: JsonSchema): { schema: JsonSchema; list: boolean } | null {
  if (schema.properties !== undefined) return { schema, list: false };
  if (schema.items?.properties !== undefined) return { schema: schema.items, list: true };
  const option = schema.anyOf?.find((candidate) => candidate.properties !== undefined);
  return option === undefined ? null : { schema: option, list: false };
}

function inherited(schema: JsonSchema): string {
  return mappingOf(schema)?.schema.description ?? '';
}

function typeOf(schema: JsonSchema): string {
  if (schema.$comment !== undefined) return schema.$comment;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  if (schema.const !== undefined) return `\`${String(schema.const)}\``;
  if (schema.type === 'boolean') return '`true`, `false`';
  if (schema.anyOf !== undefined) return schema.anyOf.map(typeOf).join(' or ');
  if (schema.type === 'array') return 'list';
  if (schema.type === 'object') return 'mapping';
  if (schema.type === 'string') return 'text';
  return `${schema.type === 'integer' ? 'whole number' : (schema.type ?? '')}${range(schema)}`;
}

function range({ minimum, maximum }: JsonSchema): string {
  return minimum === undefined || maximum === undefined ? '' : `, ${minimum} to ${maximum}`;
}

function defaultOf(schema: JsonSchema, required: boolean): string {
  if (required) return 'required';
  return schema.default === undefined
    ? ''
    : `\`${typeof schema.default === 'string' ? schema.default : JSON.stringify(schema.default)}\``;
}
