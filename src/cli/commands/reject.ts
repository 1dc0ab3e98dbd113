import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { stepIndex } from './approve';

interface RejectOptions extends ActOptions {
  readonly step?: string;
}

/** `sluice reject`: refuses the approval; the release is rolled back. */
export function addRejectCommand(registry: Registry): void {
  registry
    .add('reject <service>', 'Refuse the approval: the release rolls back', [
      'sluice reject checkout --reason "the search page is slow"',
    ])
    .option('--step <number>', 'the approval meant, counted from 1; refused when another one waits')
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .option('-y, --yes', 'do not ask')
    .action(async (service: string, options: RejectOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, {
          ask: (name) => `Reject ${name}, and roll it back?`,
          send: (client, ref, message) => client.reject(ref, { ...message, ...stepIndex(options.step) }),
        }),
      );
    });
}
