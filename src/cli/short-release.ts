import { Option } from 'commander';
import type { Command } from 'commander';
import type { ServiceRef } from '../client/client-types';
import { ReleaseError } from '../errors';
import { BOUNDS, DEFAULTS } from '../spec/defaults';
import { isSameImage } from '../spec/image-reference';
import type { KubernetesTargetPlan, Plan, TrackName } from '../spec/plan-types';
import type { ShortWish } from '../spec/short-plans';
import type { ServiceLook, TrackLook } from '../targets/kubernetes/service-look';
import { actOn } from './act';
import type { Act, ActOptions } from './act';
import { lookAtCluster } from './cluster-look';
import { confirm, requireConfirmable } from './confirm';
import { safeText } from './display-width';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { lazy } from './lazy';
import { planLines } from './plan-lines';
import { refName } from './service-ref';
import type { Session } from './session';
import { fileOption, noServiceMeant, planAnyVersion, resolveGivenService } from './spec-file';
import { shortDigest } from './short-digest';
import { addStartOptions, checkStartOptions, startRelease } from './start-release';
import type { StartOptions } from './start-release';
import { toAscii } from './style';
import type { Look } from './style';
import { parseDurationArgument } from './units';

export interface ShortOptions extends StartOptions {
  readonly file?: string;
  readonly hold?: string;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** The options of every command that starts a release of what is there already. */
export function addShortOptions(command: Command): Command {
  command.addOption(fileOption());
  return addStartOptions(command)
    .option('--dry-run', 'print the plan of the short release and do nothing')
    .option('-y, --yes', 'do not ask');
}

export function holdOption(): Option {
  return new Option(
    '--hold <duration>',
    `how long a person is waited for at the weight, before it goes back (${DEFAULTS.approve.timeout} when left out)`,
  );
}

export function parseHold(text: string | undefined): number {
  const [least, most] = BOUNDS.approvalTimeout;
  const ms = parseDurationArgument(text ?? DEFAULTS.approve.timeout, '--hold');
  if (ms >= parseDurationArgument(least, '--hold') && ms <= parseDurationArgument(most, '--hold')) return ms;
  throw new ReleaseError('usage', `--hold is ${JSON.stringify(text)}, which is too short or too long.`, {
    hint: `Allowed: from ${least} to ${most}.`,
  });
}

/**
 * A message to the release in progress; where none is and a spec is given, a short release of what the canary runs. A
 * spec is asked for, so that a message that comes too late does not begin a release that nobody meant.
 */
export async function actOrStart(
  session: Session,
  service: string | undefined,
  options: ShortOptions & ActOptions,
  { message, wish }: { readonly message: Act; readonly wish: ShortWish },
): Promise<ExitCode> {
  const { ref, file } = await resolveGivenService(session, service, options);
  if (options.dryRun === true) requireShort(file, options);
  if (file === undefined) return actOn(session, ref, options, withHint(session, message, wish));
  if (options.release !== undefined || (options.dryRun !== true && (await inProgress(session, ref)))) {
    return actOn(session, ref, options, message);
  }
  return startShort(session, file, wish, options);
}

/** What would be a message has no plan to print, and must not be sent by who has asked for nothing to be done. */
function requireShort(file: string | undefined, { release }: ActOptions): void {
  if (file === undefined) {
    throw new ReleaseError('usage', '--dry-run prints the plan of a short release, and no spec is given.', {
      hint: 'Add -f release.yaml, or leave --dry-run out to tell the release in progress.',
    });
  }
  if (release !== undefined) {
    throw new ReleaseError(
      'usage',
      '--dry-run is about a release to be begun, and --release about one that is there.',
      {
        hint: 'Leave one of them out.',
      },
    );
  }
}

/** Starts the short release of a wish, after a look at what is there. */
export async function startShort(
  session: Session,
  file: string | undefined,
  wish: ShortWish,
  options: ShortOptions,
): Promise<ExitCode> {
  const { cli, look } = session;
  await checkStartOptions(options);
  // Before what is asked of a person: with that alone the next try would fail as well.
  if (file === undefined) throw noServiceMeant('Give its spec: -f release.yaml.');
  if (options.dryRun !== true) requireConfirmable(cli, options.yes === true);
  const plan = await planShort(session, file, wish);
  if (options.dryRun === true) {
    session.result(plan, () => planLines(plan, cli.spec.describe(plan), look));
    return EXIT.ok;
  }
  const answer = await confirm(cli, questionOf(plan, wish, session.noteLook), options.yes === true);
  if (answer !== 'yes') {
    session.warn('Nothing was done.');
    return answer === 'interrupted' ? EXIT.interrupted : EXIT.error;
  }
  return startRelease(session, plan, options);
}

async function planShort(session: Session, file: string, wish: ShortWish): Promise<Plan> {
  const { cli } = session;
  const { shortPlan } = lazy.shortPlans();
  const base = await planAnyVersion(session, file);
  // What no look could change is refused before one.
  shortPlan(base, wish);
  const { target } = base;
  if (target.kind !== 'kubernetes') throw new Error('a short release is of a Kubernetes target');
  const seen = await lookAtCluster(session, target);
  return shortPlan(await cli.spec.plan(file, versionFor(seen, target, wish)), wish);
}

/** What the short release is of: the image that the track runs. Refuses what cannot be, in a sentence. */
function versionFor(seen: ServiceLook, target: KubernetesTargetPlan, wish: ShortWish): string {
  const { imageToRelease } = lazy.serviceLook();
  const track = trackOf(seen, target, wish);
  const shown = `Deployment ${target.namespace}/${track.deployment}`;
  if (wish.kind === 'cleanup') {
    const canaryHasAll = track.name === 'canary' && seen.traffic.weight === 100;
    if (track.active || canaryHasAll) {
      throw new ReleaseError('conflict', `${shown} has all of the traffic, so it is not cleaned up.`, {
        hint: canaryHasAll
          ? 'Make it the stable one with sluice promote -f release.yaml, or take it back with sluice rollback --direct.'
          : 'Clean up the other one, or switch to that first: sluice switch blue|green -f release.yaml.',
      });
    }
    if (track.runs !== null) return imageToRelease(track.runs);
    if (seen.leftovers.length > 0) return stableImage(seen);
    throw new ReleaseError('not-found', `There is no ${shown}, and nothing else is left of ${track.name}.`, {
      hint: 'See what there is: sluice status -f release.yaml.',
    });
  }
  if (track.active) {
    throw new ReleaseError('conflict', `${track.name} is the active colour already; there is nothing to switch.`, {
      hint: `The idle one is ${track.name === 'blue' ? 'green' : 'blue'}.`,
    });
  }
  if (track.runs === null) {
    throw new ReleaseError('not-found', `There is no ${shown}, so there is nothing to give traffic to.`, {
      hint: 'Start a release: sluice deploy release.yaml --image IMAGE.',
    });
  }
  // An idle colour is given as many pods as the active one has; a canary without pods is one that nobody has tried.
  if (track.name === 'canary' && track.runs.replicas.desired === 0) {
    throw new ReleaseError('conflict', `${shown} is without pods, so it runs nothing that could get traffic.`, {
      hint: 'Give it pods first (kubectl scale), or start a release: sluice deploy release.yaml --image IMAGE.',
    });
  }
  const active = seen.tracks.find((other) => other.active)?.runs;
  if (wish.kind === 'switch' && track.runs.replicas.desired === 0 && track.runs.image === active?.image) {
    throw new ReleaseError(
      'conflict',
      `${shown} is without pods and names the image that is active already; there is nothing to switch to.`,
      { hint: 'Start a release: sluice deploy release.yaml --image IMAGE.' },
    );
  }
  // By another name its pods would be made anew, under the users that it has already.
  const keepsName = track.name === 'canary' && target.resolveImage === 'never' && (seen.traffic.weight ?? 0) > 0;
  const version = keepsName ? track.runs.image : imageToRelease(track.runs);
  if (wish.kind === 'switch' && isSameImage(version, stableImage(seen))) {
    throw new ReleaseError('conflict', `Both colours run ${version}; there is nothing to switch.`);
  }
  return version;
}

function trackOf(seen: ServiceLook, target: KubernetesTargetPlan, wish: ShortWish): TrackLook {
  const name: TrackName = wish.kind === 'switch' ? wish.colour : wish.kind === 'cleanup' ? wish.track : 'canary';
  const found = seen.tracks.find((track) => track.name === name);
  if (found === undefined) throw new Error(`a service of strategy ${target.strategy} has no track ${name}`);
  if (name !== 'canary' && !seen.tracks.some((track) => track.active)) {
    throw new ReleaseError('conflict', `${seen.traffic.remarks.join(' ')} It is not known which colour is idle.`, {
      hint: 'Point its selector to the pods of one colour first.',
    });
  }
  return found;
}

function stableImage({ tracks }: ServiceLook): string {
  const active = tracks.find((track) => track.active)?.runs;
  if (active === null || active === undefined) throw new ReleaseError('not-found', 'No Deployment has the traffic.');
  return lazy.serviceLook().imageToRelease(active);
}

function questionOf(plan: Plan, wish: ShortWish, look: Look): string {
  const name = refName(plan);
  const version = toAscii(shortDigest(safeText(plan.version), look), look);
  switch (wish.kind) {
    case 'traffic':
      return `Start a short release of ${name} that gives ${wish.weight} % of the traffic to what its canary runs?\n  version ${version}`;
    case 'promote':
      return `Start a short release of ${name} that promotes what its canary runs?\n  version ${version}`;
    case 'switch':
      return `Start a short release of ${name} that gives ${wish.weight} % of the traffic to ${wish.colour}?\n  version ${version}`;
    case 'cleanup':
      return `Take away what is left of ${wish.track} of ${name}: its traffic, then its pods?\n  version ${version}`;
  }
}

async function inProgress(session: Session, ref: ServiceRef): Promise<boolean> {
  const client = await session.client();
  try {
    // One that only keeps the old version is over: the next one makes it give that up.
    return (await client.status(ref)).outcome === null;
  } catch (error) {
    if (error instanceof ReleaseError && error.code === 'not-found') return false;
    throw error;
  }
}

/** Says beside a refusal for want of a release how one is started. */
function withHint(session: Session, message: Act, wish: ShortWish): Act {
  return {
    ...message,
    send: async (client, ref, body) => {
      try {
        return await message.send(client, ref, body);
      } catch (error) {
        const refused = error instanceof ReleaseError && (error.code === 'conflict' || error.code === 'not-found');
        if (!refused || (await inProgress(session, { service: ref.service, namespace: ref.namespace }))) throw error;
        const words = wish.kind === 'traffic' ? `traffic ${refName(ref)} ${wish.weight}` : `promote ${refName(ref)}`;
        const hint = `To start a short release of what the canary runs: sluice ${words} -f release.yaml.`;
        throw new ReleaseError(error.code, error.message, { hint, cause: error });
      }
    },
  };
}
