import { formatDocument } from '../output';
import type { Registry } from '../registry';

/** `sluice schema`: the JSON Schema of release.yaml, for editors. */
export function addSchemaCommand(registry: Registry): void {
  registry
    .add('schema', 'Print the JSON Schema of release.yaml, for editors', ['sluice schema > release.schema.json'])
    .action(async (_options: unknown, command) => {
      await registry.run(command, (session) => {
        const format = session.format === 'table' ? 'json' : session.format;
        session.cli.stdout.write(formatDocument(session.cli.spec.schema(), format));
        return Promise.resolve();
      });
    });
}
