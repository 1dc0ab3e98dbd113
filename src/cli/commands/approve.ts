import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';
import { parseStepNumber } from '../units';

interface ApproveOptions extends ActOptions {
  readonly step?: string;
}

/** `sluice approve`: lets a release that waits for an approval go on. */
export function addApproveCommand(registry: Registry): void {
  registry
    .add('approve <service>', 'Approve the step that waits for it', [
      'sluice approve checkout',
      'sluice approve checkout --step 4 --reason "looked at the dashboards"',
    ])
    .option('--step <number>', 'the approval meant, counted from 1; refused when another one waits')
    .option('--reason <text>', 'why, for the record')
    .option('--release <id>', 'refused unless this release is the current one')
    .action(async (service: string, options: ApproveOptions, command) => {
      await registry.run(command, (session) =>
        act(session, service, options, {
          send: (client, ref, message) => client.approve(ref, { ...message, ...stepIndex(options.step) }),
        }),
      );
    });
}

/** People count steps from 1, as they are printed; messages by index. */
export function stepIndex(text: string | undefined): { step?: number } {
  return text === undefined ? {} : { step: parseStepNumber(text) - 1 };
}
