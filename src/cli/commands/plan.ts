import { Option } from 'commander';
import { planLines } from '../plan-lines';
import type { Registry } from '../registry';
import { makePlan } from './deploy';
import type { VersionOptions } from './deploy';

/** `sluice plan`: what a release would do, without doing it. */
export function addPlanCommand(registry: Registry): void {
  registry
    .add('plan <release.yaml>', 'Print the steps, the total time, the metrics and their queries', [
      'sluice plan release.yaml --version 1.4.2',
      'sluice plan release.yaml --version 1.4.2 -o json',
    ])
    .addOption(new Option('--version <version>', 'the version to release'))
    .addOption(new Option('--image <reference>', 'the same, as an image reference').conflicts('version'))
    .action(async (path: string, options: VersionOptions, command) => {
      await registry.run(command, async (session) => {
        const plan = await makePlan(session, path, options);
        session.result(plan, () => planLines(plan, session.cli.spec.describe(plan), session.look));
      });
    });
}
