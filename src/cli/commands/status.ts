import { EXIT, exitCodeOfStatus } from '../exit-codes';
import type { Registry } from '../registry';
import { resolveServiceRef } from '../service-ref';
import { summaryLines } from '../summary';
import { warnWithoutWorker } from '../workers';

interface StatusOptions {
  readonly release?: string;
  readonly exitCode?: boolean;
}

/** `sluice status`: the current or last release of a service. */
export function addStatusCommand(registry: Registry): void {
  registry
    .add('status <service>', 'How the current or last release of a service stands', [
      'sluice status checkout',
      'sluice status shop/checkout -o json',
      'sluice status release.yaml --exit-code   # 0 promoted, 3 rolled back, 5 aborted, 8 in progress',
    ])
    .option('--release <id>', 'a certain release instead of the newest')
    .option('--exit-code', 'end with the code that says how it stands')
    .action(async (service: string, options: StatusOptions, command) => {
      await registry.run(command, async (session) => {
        const ref = await resolveServiceRef(service, session.cli.spec, options.release);
        const client = await session.client();
        await warnWithoutWorker(session, client);
        const status = await client.status(ref);
        if (status.simulated) session.markSimulated();
        session.result(status, () => summaryLines(status, session.look, session.cli.now()));
        return options.exitCode === true ? exitCodeOfStatus(status) : EXIT.ok;
      });
    });
}
