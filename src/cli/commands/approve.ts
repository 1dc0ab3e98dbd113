import { ReleaseError } from '../../errors';
import { act } from '../act';
import type { ActOptions } from '../act';
import type { Registry } from '../registry';

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
  if (text === undefined) return {};
  const number = /^\d{1,3}$/u.test(text) ? Number(text) : 0;
  if (number >= 1) return { step: number - 1 };
  throw new ReleaseError('usage', `--step is ${JSON.stringify(text)}, which is no step's number.`, {
    hint: 'Steps count from 1, as `sluice status` prints them.',
  });
}
