import { act } from '../act';
import type { ActOptions } from '../act';
import { rollBackDirect } from '../direct-roll-back';
import type { Registry } from '../registry';
import { withWayAround } from '../temporal-away';

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
      await registry.run(command, async (session) => {
        if (options.direct === true) return rollBackDirect(session, service, options);
        const acted = act(session, service, options, {
          ask: (name) => (options.abandon === true ? `Give up the roll back of ${name}?` : `Roll back ${name}?`),
          ...(options.abandon === true ? {} : { askQueued: (name: string) => `Withdraw from the queue of ${name}?` }),
          send: (client, ref, message) =>
            client.rollback(ref, options.abandon === true ? { ...message, abandon: true } : message),
        });
        return acted.catch((error: unknown) => {
          throw withWayAround(error, directWay(service, options));
        });
      });
    });
}

function directWay(service: string, { yes }: RollbackOptions): string {
  const again = `sluice rollback ${service} --direct${yes === true ? ' --yes' : ''}`;
  return `On Kubernetes it is rolled back without Temporal by \`${again}\`; more ways: docs/runbooks/roll-back-by-hand.md.`;
}
