import { Ajv2020 } from 'ajv/dist/2020';
import type { Reply } from './support';

/** As much of an OpenAPI document as tests look at. */
export interface OpenApi {
  readonly info: { readonly title: string };
  readonly paths: Record<string, Record<string, { responses: Record<string, { content?: Record<string, unknown> }> }>>;
  readonly components: { readonly schemas: Record<string, unknown> };
}

const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** Holds an answer against the document that its server publishes. */
export function checkAgainst(
  document: OpenApi,
  { method, path, reply }: { method: string; path: string; reply: Reply },
): void {
  const [bare = ''] = path.split('?');
  const template = Object.keys(document.paths).find((one) =>
    new RegExp(`^${one.replaceAll(/\{\w+\}/g, '[^/]*')}$`).test(bare),
  );
  const operation = template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()];
  if (operation === undefined) return;
  const response = operation.responses[String(reply.status)];
  if (response === undefined) throw new Error(`${method} ${template} is not said to answer ${reply.status}`);
  const [[type, content] = ['', undefined]] = Object.entries(response.content ?? {});
  if (content === undefined) return;
  expect(reply.headers.get('content-type')).toContain(type);
  const { schema } = content as { schema?: { $ref: string } };
  // Of what is no JSON.
  if (schema === undefined) return;
  const title = document.info.title.replaceAll(' ', '-');
  // All servers of one test file with this title publish the same document.
  if (ajv.getSchema(title) === undefined) ajv.addSchema({ $id: title, components: document.components });
  const valid = ajv.getSchema(schema.$ref.replace('#', `${title}#`));
  if (valid?.(reply.body) !== true) {
    throw new Error(`${method} ${path}: ${ajv.errorsText(valid?.errors)} in ${JSON.stringify(reply.body)}`);
  }
}
