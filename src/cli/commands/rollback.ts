import { act } from '../act';
import type { ActOptions } from '../act';
import { rollBackDirect } from '../direct-roll-back';
import type { Registry } from '../registry';

interface RollbackOptions extends ActOptions {
  readonly abandon?: boolean;
  readonly direct?: boolean;
}

/** `sluice rollback`: takes the release back. */
export function addRollbackCommand(registry: Registry): void {
  registry
    .add('rollback <service>', 'Take a release back: traffic first', [
      'sluice rollback checkout --reason "500s at the till"',
      'sluice rollback checkout --yes   # in a script',
      'sluice rollback checkout --release ID   # one that waits in the queue is withdrawn',
      'sluice rollback shop/checkout --direct --yes   # Temporal is away: straight on the cluster',
    ])
    .option('--reason <text>', 'why, for the record')
    .option('--abandon', 'in a roll back that cannot finish: give up what is left, and end as failed')
    .option('--release <id>', 'refused unless this release is the current one, or waits in the queue: then withdrawn')
    .option('--direct', 'on the cluster alone, by your own kubeconfig: for when Temporal is away')
    .option('-y, --yes', 'do not ask')
    .action(async (service: string, options: RollbackOptions, command) => {
      await registry.run(command, (session) => {
        if (options.direct === true) return rollBackDirect(session, service, options);
        return act(session, service, options, {
          ask: () => (options.abandon === true ? 'Give up the roll back of' : 'Roll back'),
          ...(options.abandon === true ? {} : { askQueued: 'Withdraw from the queue of' }),
          send: (client, ref, message) =>
            client.rollback(ref, options.abandon === true ? { ...message, abandon: true } : message),
        });
      });
    });
}
