import { API_VERSION } from '../output';
import type { Registry } from '../registry';

/** `sluice version`. */
export function addVersionCommand(registry: Registry): void {
  registry
    .add('version', 'Print the version', ['sluice version -o json'])
    .action(async (_options: unknown, command) => {
      await registry.run(command, async (session) => {
        const { version } = session.cli;
        session.result({ apiVersion: API_VERSION, kind: 'Version', version, node: process.version }, () => [
          `sluice ${version}`,
        ]);
      });
    });
}
