import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020';
import fc from 'fast-check';
import { parse } from 'yaml';
import { formatProblem, parseSpec } from '../../src/spec/load';
import { releaseJsonSchema } from '../../src/spec/json-schema';
import type { JsonSchema } from '../../src/spec/json-schema';
import { plan } from '../../src/spec/plan';
import { releaseSchema } from '../../src/spec/schema';
import { schemaFileText, withReference } from '../../src/spec/write-reference';
import { DESIGN_EXAMPLE, FAULTY_EXAMPLE, problemsOf, routerDocument, validSpec } from './documents';

const root = join(__dirname, '..', '..');
const validate = new Ajv2020({ strict: true, strictRequired: false, allErrors: true }).compile(releaseJsonSchema());
const examples = readdirSync(join(root, 'examples', 'specs')).filter((name) => name.endsWith('.yaml'));

function read(...path: string[]): string {
  return readFileSync(join(root, ...path), 'utf8');
}

describe('what is generated from the schema', () => {
  const hint = 'run: npm run build && node dist/spec/write-reference.js';

  it(`schema/release.schema.json is up to date (${hint})`, () => {
    expect(read('schema', 'release.schema.json')).toBe(schemaFileText());
  });

  it(`docs/spec.md is up to date (${hint})`, () => {
    expect(read('docs', 'spec.md')).toBe(withReference(read('docs', 'spec.md')));
  });

  it('every key has a description, and every default is one that its key allows', () => {
    const bare: string[] = [];
    walk(releaseJsonSchema(), '', (path, schema) => {
      if (schema.description === undefined && schema.properties === undefined && schema.anyOf === undefined)
        bare.push(path);
      const { default: value, ...rest } = schema;
      if (value !== undefined)
        expect({ path, valid: new Ajv2020({ strict: false }).compile(rest)(value) }).toEqual({ path, valid: true });
    });

    expect(bare).toEqual([]);
  });
});

describe('the JSON Schema and the parser', () => {
  it.each(examples)('both accept examples/specs/%s without a warning', (name) => {
    const text = read('examples', 'specs', name);
    const result = parseSpec(text, name);

    expect(result.ok ? result.warnings : result.problems.map(formatProblem)).toEqual([]);
    expect(validate(parse(text))).toBe(true);
    expect(
      plan(validSpec(text), name === 'kubernetes.yaml' ? 'ghcr.io/acme/checkout:1' : 'v2').steps.length,
    ).toBeGreaterThan(3);
  });

  it('the router example writes out nothing but defaults', () => {
    const written = plan(validSpec(read('examples', 'specs', 'router.yaml')), 'v2');
    const least = plan(validSpec(routerDocument()), 'v2');

    expect(written.analysis).toEqual(least.analysis);
    expect(written.steps.filter((step) => step.kind === 'weight')).toEqual(
      least.steps.filter((step) => step.kind === 'weight'),
    );
  });

  it('the pieces of YAML in docs/spec.md are valid', () => {
    const blocks = [...read('docs', 'spec.md').matchAll(/```yaml\n(apiVersion[\s\S]*?)```/g)].map(
      ([, text]) => text ?? '',
    );

    expect(blocks.length).toBeGreaterThan(0);
    for (const block of blocks) expect(parseSpec(block, 'docs').ok).toBe(true);
  });

  it('the messages shown in docs/spec.md are those that are given', () => {
    const shown = read('docs', 'spec.md')
      .split('\n')
      .filter((line) => line.startsWith('release.yaml:'));

    expect(shown.length).toBeGreaterThan(0);
    expect(problemsOf(FAULTY_EXAMPLE)).toEqual(expect.arrayContaining(shown));
  });

  it('agree on what is well formed, whatever happens to a value', () => {
    const documents = [DESIGN_EXAMPLE, ...examples.map((name) => read('examples', 'specs', name))].map(
      (text) => parse(text) as unknown,
    );
    const slip = fc.record({
      document: fc.constantFrom(...documents),
      at: fc.nat(10_000),
      change: fc.oneof(
        fc.constant({ kind: 'remove' as const }),
        fc.constant({ kind: 'rename' as const }),
        fc
          .constantFrom<unknown>(
            null,
            true,
            false,
            0,
            1,
            55.5,
            -1,
            '',
            'x y',
            '60',
            '5%',
            '60s',
            'http://a:b@c',
            [],
            {},
            ['a'],
            { a: 1 },
          )
          .map((value) => ({ kind: 'replace' as const, value })),
      ),
    });

    fc.assert(
      fc.property(slip, ({ document, at, change }) => {
        const changed = structuredClone(document);
        const places = placesOf(changed);
        const place = places[at % places.length];
        if (place === undefined) return;
        const { holder, key } = place;
        const before = holder[key];
        if (change.kind === 'replace') holder[key] = change.value;
        else if (Array.isArray(holder)) holder.splice(Number(key), 1);
        else delete holder[key];
        if (change.kind === 'rename' && !Array.isArray(holder)) holder[`${key}x`] = before;

        const parsed = releaseSchema.safeParse(changed);

        expect({ changed, valid: validate(changed) }).toEqual({ changed, valid: parsed.success });
      }),
      { numRuns: 1_000 },
    );
  });
});

interface Place {
  readonly holder: Record<string, unknown>;
  readonly key: string;
}

function placesOf(value: unknown): Place[] {
  if (typeof value !== 'object' || value === null) return [];
  const holder = value as Record<string, unknown>;
  return Object.keys(holder).flatMap((key) => [{ holder, key }, ...placesOf(holder[key])]);
}

function walk(schema: JsonSchema, path: string, visit: (path: string, schema: JsonSchema) => void): void {
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    visit(`${path}.${key}`, property);
    walk(property, `${path}.${key}`, visit);
  }
  if (schema.items !== undefined) walk(schema.items, `${path}[]`, visit);
  for (const option of schema.anyOf ?? []) walk(option, path, visit);
}
