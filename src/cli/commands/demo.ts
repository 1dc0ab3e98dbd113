import { createReporter } from '../demo/reporter';
import { runDemo } from '../demo/run-demo';
import type { Registry } from '../registry';
import { parsePort } from '../units';

interface DemoCommandOptions {
  readonly port: string;
  readonly uiPort: string;
  readonly keep?: boolean;
  readonly kubernetes?: boolean;
}

/** `sluice demo`: a promotion and a roll back of a small shop, for real, on this machine. */
export function addDemoCommand(registry: Registry): void {
  registry
    .add('demo', 'Release a healthy and a failing version of a small shop, here and for real', [
      'sluice demo',
      'sluice demo --keep   # leave it open afterwards, for a look at the Temporal UI',
      'sluice demo --json   # one event a line',
    ])
    .option('--port <port>', "Temporal's port; 0 takes a free one", '0')
    .option('--ui-port <port>', "the UI's port; 0 takes a free one", '0')
    .option('--keep', 'leave everything open until Ctrl-C')
    .option('--kubernetes', 'in a cluster and through its gateway; ./scripts/demo --kubernetes brings one up')
    .action(async (options: DemoCommandOptions, command) => {
      await registry.run(command, (session) =>
        runDemo(
          session,
          {
            port: parsePort(options.port, '--port'),
            uiPort: parsePort(options.uiPort, '--ui-port'),
            keep: options.keep === true,
            kubernetes: options.kubernetes === true,
          },
          createReporter(session),
        ),
      );
    });
}
