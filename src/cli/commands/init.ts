import { messageOf, ReleaseError } from '../../errors';
import type { Cluster } from '../../targets/kubernetes/cluster';
import { describeRef, refOf } from '../../targets/kubernetes/objects';
import type { KubernetesObject } from '../../targets/kubernetes/objects';
import { asReleaseError } from '../cluster-errors';
import { isInteractive } from '../confirm';
import { applyObjects, checkObjects, INIT_FIELD_MANAGER } from '../init/apply';
import type { AppliedObject } from '../init/apply';
import { askFor } from '../init/questions';
import { nextSteps } from '../init/next-steps';
import { serviceFiles } from '../init/service-files';
import type { ServiceFiles } from '../init/service-files';
import { assumptions, settingsFrom, STRATEGIES, TRAFFIC_KINDS, USUAL } from '../init/settings';
import type { InitOptions, InitSettings } from '../init/settings';
import { trackName, tracksOf } from '../init/workloads';
import { refuseOverwriting, writeFiles } from '../init/write-files';
import { listenForInterrupt } from '../interrupt';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { lazy } from '../lazy';
import { API_VERSION } from '../output';
import type { Registry } from '../registry';
import { USUAL_ACCOUNT } from '../service-role';
import type { Session } from '../session';
import { glyphs, paint } from '../style';

interface InitCommandOptions extends InitOptions {
  readonly apply?: boolean;
  readonly dryRun?: boolean;
  readonly force?: boolean;
  readonly yes?: boolean;
}

/** For all that is asked of the cluster: two requests an object and more, against one that may be far away. */
const CLUSTER_PATIENCE_MS = 120_000;

/** `sluice init`: everything a new service needs, as files, and in the cluster. */
export function addInitCommand(registry: Registry): void {
  registry
    .add('init [folder]', 'Write everything a new service needs: manifests and release.yaml', [
      'sluice init checkout --image ghcr.io/acme/checkout:1.0.0 --host checkout.example.com --namespace shop',
      'sluice init checkout --image ghcr.io/acme/checkout:1.0.0 --traffic nginx --dry-run   # only check, at the server',
      'sluice init checkout --image ghcr.io/acme/checkout:1.0.0 --apply',
      'sluice init checkout --image ghcr.io/acme/checkout:1.0.0 --strategy blueGreen',
    ])
    .option('--name <name>', "the service's name (default: the folder's)")
    .option('--namespace <name>', `its namespace, which must exist for --apply (default: ${USUAL.namespace})`)
    .option('--image <reference>', 'the image of the first deployment')
    .option('--port <number>', `the port the container listens on (default: ${USUAL.port})`)
    .option('--health-path <path>', `answers 200 when the container is well (default: ${USUAL.healthPath})`)
    .option('--strategy <name>', `how it is released: ${STRATEGIES.join(', ')} (default: ${USUAL.strategy})`)
    .option('--replicas <number>', 'the least pods of the stable track (default: 2; 4 with --traffic replicas)')
    .option(
      '--traffic <kind>',
      `who splits the traffic: ${TRAFFIC_KINDS.join(', ')} (default: ${USUAL.traffic.canary}; ${USUAL.traffic.blueGreen} with --strategy blueGreen)`,
    )
    .option('--host <name>', "the DNS name users reach it by (default: the service's name under example.com)")
    .option('--gateway <[namespace/]name>', `the Gateway of the Gateway API or of Istio (default: ${USUAL.gateway})`)
    .option('--prometheus <url>', `where the worker asks for metrics (default: ${USUAL.prometheus})`)
    .option('--no-service-monitor', 'for clusters without the Prometheus operator')
    .option('--service-account <[namespace/]name>', `the worker's, which gets the Role (default: ${USUAL_ACCOUNT})`)
    .option('--apply', 'apply it to the cluster as well (KUBECONFIG), after a check of all of it')
    .option('--dry-run', 'only let the server check it: write nothing, apply nothing')
    .option('--force', 'overwrite files that are there, and apply over a service that is there')
    .option('-y, --yes', 'ask nothing, assume what is not given')
    .action(async (folder: string | undefined, options: InitCommandOptions, command) => {
      await registry.run(command, (session) => init(session, folder ?? '.', options));
    });
}

async function init(session: Session, folder: string, options: InitCommandOptions): Promise<ExitCode> {
  const { cli } = session;
  const asks = options.yes !== true && isInteractive(cli);
  const answered = asks ? await askFor(cli, options, folder) : options;
  if (answered === null) return EXIT.interrupted;
  const settings = settingsFrom(answered, folder);
  if (options.apply === true && answered.image === undefined) {
    throw new ReleaseError('usage', 'It is not said which image is to run first.', {
      hint: 'Add --image ghcr.io/acme/checkout:1.0.0.',
    });
  }
  const service = serviceFiles(settings);
  const force = options.force === true;
  const dryRun = options.dryRun === true;
  if (!force && !dryRun) await refuseOverwriting(folder, service.files);

  const touchesCluster = dryRun || options.apply === true;
  const done = touchesCluster
    ? await inCluster(session, async (cluster, signal) => {
        if (options.apply === true && !force) await refuseExisting(cluster, settings, signal);
        const unknown = await checkObjects(cluster, service.objects, signal);
        if (dryRun) return { files: [], applied: [], ...split(service, unknown) };
        const files = await writeFiles(folder, service.files, force);
        return { files, applied: await applyObjects(cluster, service.objects, signal), checked: [], unknown: [] };
      })
    : { files: await writeFiles(folder, service.files, force), applied: [], checked: [], unknown: [] };
  if (typeof done === 'number') return done;

  report(session, { folder, settings, force, ...done });
  const assumed = assumptions(answered, settings);
  if (assumed.length > 0) session.note(`Assumed, and to be put right where it is not so: ${assumed.join(', ')}.`);
  return EXIT.ok;
}

/** What the work comes to, or the exit code of an interruption. */
async function inCluster<T extends object>(
  session: Session,
  work: (cluster: Cluster, signal: AbortSignal) => Promise<T>,
): Promise<T | ExitCode> {
  const interruption = listenForInterrupt(session.cli);
  const signal = AbortSignal.any([interruption.signal, AbortSignal.timeout(CLUSTER_PATIENCE_MS)]);
  let cluster: Cluster | null = null;
  try {
    cluster = lazy.cluster().connectCluster({ env: session.cli.env, fieldManager: INIT_FIELD_MANAGER });
    return await work(cluster, signal);
  } catch (error) {
    if (interruption.by === null) throw asReleaseError(error);
    session.warn(`Interrupted. ${messageOf(error)}`);
    return interruption.by === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
  } finally {
    cluster?.close();
    interruption.stopListening();
  }
}

/** What is there already may have been released since: applying over it would bring the first image back. */
async function refuseExisting(cluster: Cluster, settings: InitSettings, signal: AbortSignal): Promise<void> {
  const { name, namespace, strategy } = settings;
  // Of a canary that is left beside nothing no version would be lost; of a pair either may have the traffic.
  const tracks = strategy === 'blueGreen' ? tracksOf(settings) : (['stable'] as const);
  const refs = tracks.map((track) => ({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    namespace,
    name: trackName(name, track),
  }));
  const found = await Promise.all(refs.map((ref) => cluster.find(ref, { signal })));
  const ref = refs.find((_, index) => found[index] !== null);
  if (ref === undefined) return;
  throw new ReleaseError('conflict', `${describeRef(ref)} is there already; nothing was written or applied.`, {
    hint: 'To release a new version: sluice deploy. To apply over it, with the image given here: --force.',
  });
}

function split({ objects }: ServiceFiles, unknown: readonly KubernetesObject[]): Pick<Outcome, 'checked' | 'unknown'> {
  const named = (some: readonly KubernetesObject[]): string[] => some.map((object) => describeRef(refOf(object)));
  return { checked: named(objects.filter((object) => !unknown.includes(object))), unknown: named(unknown) };
}

interface Outcome {
  readonly folder: string;
  /** A service that was there may have been applied over. */
  readonly force: boolean;
  readonly settings: InitSettings;
  readonly files: readonly string[];
  /** By a dry run, each as people read it. */
  readonly checked: readonly string[];
  readonly unknown: readonly string[];
  readonly applied: readonly AppliedObject[];
}

function report(session: Session, outcome: Outcome): void {
  const { folder, settings, force, files, checked, unknown, applied } = outcome;
  const { look } = session;
  const warn = paint(glyphs(look).warn, 'warn', look);
  const tick = paint(glyphs(look).ok, 'good', look);
  const document = {
    apiVersion: API_VERSION,
    kind: 'NewService',
    service: settings.name,
    namespace: settings.namespace,
    files,
    checked,
    unknown,
    applied,
  };
  session.result(document, () => [
    ...files.map((written) => `${tick} ${written}`),
    ...checked.map((object) => `${tick} ${object} would be accepted`),
    ...unknown.map((object) => `${warn} ${object} can be checked only once its Role is there`),
    ...applied.map(({ object, how }) => `${tick} ${object} ${how}`),
    ...(files.length > 0 ? nextSteps(settings, { folder, applied: applied.length > 0, isNew: !force }) : []),
  ]);
}
