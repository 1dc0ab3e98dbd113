import { Option } from 'commander';
import type { Plan } from '../../spec/plan-types';
import { ReleaseError } from '../../errors';
import { FLAG_VERSION } from '../../spec/defaults';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { planLines } from '../plan-lines';
import type { Registry } from '../registry';
import type { Session } from '../session';
import { parseScript } from '../simulation-script';
import { addStartOptions, checkStartOptions, startRelease } from '../start-release';
import type { StartOptions } from '../start-release';

export interface VersionOptions {
  readonly version?: string;
  readonly image?: string;
}

export interface DeployCommandOptions extends VersionOptions, StartOptions {
  readonly dryRun?: boolean;
  readonly simulate?: string;
}

/** `sluice deploy`: starts a release, and by default on a terminal watches it. */
export function addDeployCommand(registry: Registry): void {
  const command = registry
    .add('deploy <release.yaml>', 'Release a version', [
      'sluice deploy release.yaml --version 1.4.2',
      'sluice deploy release.yaml --image ghcr.io/acme/checkout:1.4.2   # to Kubernetes, where a version is an image',
      'sluice deploy release.yaml --image ghcr.io/acme/checkout:1.4.2 --wait --timeout 2h   # in CI',
      'sluice deploy release.yaml --version 1.4.2 --dry-run',
    ])
    .addOption(new Option('--version <version>', 'the version to release; to Kubernetes, an image'))
    .addOption(new Option('--image <reference>', 'the same, as an image reference').conflicts('version'));
  addStartOptions(command)
    .option('--dry-run', 'print the plan and do nothing')
    .option(
      '--simulate <script>',
      'numbers from a script instead of the metric source: healthy, failing@25, no-data, or a file',
    )
    .action(async (path: string, options: DeployCommandOptions) => {
      await registry.run(command, (session) => deploy(session, path, options));
    });
}

export async function deploy(session: Session, path: string, options: DeployCommandOptions): Promise<ExitCode> {
  const { cli } = session;
  await checkStartOptions(options);
  const plan = await makePlan(session, path, options);
  if (options.dryRun === true) {
    session.result(plan, () => planLines(plan, cli.spec.describe(plan), session.look));
    return EXIT.ok;
  }
  return startRelease(session, plan, options);
}

/**
 * The version of a target that has none to choose: of a flag it is released that it is on.
 *
 * @throws ReleaseError `usage` for any other, with how its versions are said.
 */
async function versionOfItself({ cli }: Session, path: string): Promise<string> {
  const { target } = await cli.spec.identify(path);
  if (target === 'flag') return FLAG_VERSION;
  throw new ReleaseError('usage', 'It is not said which version to release.', {
    hint: target === 'kubernetes' ? 'Add --image ghcr.io/acme/checkout:1.4.2.' : 'Add --version 1.4.2.',
  });
}

/** The plan of a file for the version of the command line; with `--simulate`, over made-up numbers. */
export async function makePlan(
  session: Session,
  path: string,
  options: VersionOptions & { readonly simulate?: string },
): Promise<Plan> {
  const version = options.version ?? options.image ?? (await versionOfItself(session, path));
  const script = options.simulate === undefined ? null : await parseScript(options.simulate);
  if (script === null) return session.cli.spec.plan(path, version);
  session.markSimulated();
  session.warn(
    'The metric source is replaced by a script: no verdict of this release says anything about the version.',
  );
  return session.cli.spec.plan(path, version, script);
}
