import type { SluiceClient } from '../../client/client-types';
import { messageOf, ReleaseError } from '../../errors';
import type { RunningTemporal } from '../../devserver/start-temporal';
import type { ReleaseStatus } from '../../workflows/api';
import type { RunningWorker } from '../cli';
import { searchAttributeTypes } from '../commands/dev';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { follow } from '../follow';
import { listenForInterrupt } from '../interrupt';
import { createReadableLogger } from '../readable-log';
import type { Session } from '../session';
import type { DemoReporter } from './reporter';
import { readClusterShop, setKubernetesStage } from './kubernetes-stage';
import { problemsOf } from './problems';
import { setRouterStage } from './router-stage';
import { Interrupted, Started } from './stage';
import type { Stage, StageSetUp } from './stage';

export interface DemoOptions {
  /** 0: a free one. */
  readonly port: number;
  readonly uiPort: number;
  /** Leave everything open until Ctrl-C. */
  readonly keep: boolean;
  /** In the cluster that the environment names, instead of on this machine alone. */
  readonly kubernetes: boolean;
}

const NAMESPACE = 'default';

/** The last line of stdout when all went as it should. */
const SUCCESS = 'demo: v2 promoted, v3 rolled back';

/** Sets everything up, releases a healthy version and a failing one, and tells how that went. */
export async function runDemo(session: Session, options: DemoOptions, report: DemoReporter): Promise<ExitCode> {
  const interruption = listenForInterrupt(session.cli);
  const started = new Started(interruption);
  try {
    const scene = await setUp(options, { session, report, started });
    const problem = await play(session, scene, report);
    report.finish(problem === null ? SUCCESS : `demo: ${problem}`);
    if (options.keep) {
      session.warn(`Everything stays open until Ctrl-C. Temporal UI: ${scene.temporal.uiUrl ?? 'none'}`);
      await interruption.happened;
    }
    return problem === null ? EXIT.ok : EXIT.error;
  } catch (error) {
    if (error instanceof Interrupted) {
      report.finish('demo: interrupted');
      return interruption.by === 'SIGTERM' ? EXIT.terminated : EXIT.interrupted;
    }
    const code = report.failed(error);
    report.finish(`demo: ${messageOf(error)}`);
    return code;
  } finally {
    interruption.stopListening();
    await started.stopAll((sentence) => session.warn(sentence));
  }
}

interface Scene extends Stage {
  readonly temporal: RunningTemporal;
  readonly client: SluiceClient;
}

async function setUp(options: DemoOptions, all: StageSetUp): Promise<Scene> {
  const { session, report, started } = all;
  const { cli } = session;
  // What is asked for in vain is said before anything is started.
  if (options.kubernetes) readClusterShop(cli.env);
  const binary = await started.wait(cli.findTemporal((line) => session.note(line)));
  const temporal = await started.keep(
    cli.startTemporal({
      binary: binary.path,
      port: options.port,
      uiPort: options.uiPort,
      namespace: NAMESPACE,
      searchAttributes: searchAttributeTypes(),
    }),
    (server) => server.stop(),
  );
  report.setUp(`Temporal UI: ${temporal.uiUrl ?? 'none'}`, {
    uiUrl: temporal.uiUrl ?? null,
    address: temporal.address,
  });
  const stage = await (options.kubernetes ? setKubernetesStage(all) : setRouterStage(all));
  await started.keep(startDemoWorker(session, temporal, stage.workerEnv), (worker) => worker.stop());
  const client = await started.keep(cli.connect({ address: temporal.address, namespace: NAMESPACE }), (connected) =>
    connected.close(),
  );
  return { ...stage, temporal, client };
}

function startDemoWorker(session: Session, temporal: RunningTemporal, env: NodeJS.ProcessEnv): Promise<RunningWorker> {
  const { cli } = session;
  return cli.startWorker({
    address: temporal.address,
    namespace: NAMESPACE,
    env: { ...cli.env, ...env },
    // Its log would tear the live view; what matters is in the release's story.
    logger: createReadableLogger((line) => session.warn(line), session.noteLook, session.verbose ? 'info' : 'fatal'),
  });
}

/** Both releases; answers what went otherwise than it should, null when nothing did. */
async function play(session: Session, scene: Scene, report: DemoReporter): Promise<string | null> {
  const v2 = await release(session, scene, 'v2', report);
  // Without v2 as the stable version the second half would show something else than it says.
  const v3 = v2.outcome === 'promoted' ? await release(session, scene, 'v3', report) : null;
  await scene.load.stop();
  const counts = scene.load.counts();
  report.counts(counts);
  const problems = problemsOf(v2, v3, counts);
  return problems.length === 0 ? null : problems.join('; ');
}

async function release(
  session: Session,
  { client, load, specPath, maxReleaseMs, ...stage }: Scene,
  version: string,
  report: DemoReporter,
): Promise<ReleaseStatus> {
  const plan = await session.cli.spec.plan(specPath, stage.versionOf(version));
  stage.releasing(version);
  const { release: id } = await client.deploy(plan, { actor: session.actor(), reason: 'the demo' });
  report.releasing(version, id);
  load.takeShare();
  const ref = { service: plan.service, namespace: plan.namespace, release: id };
  const end = await follow(session, client, ref, { view: report.viewer(load), timeoutMs: maxReleaseMs });
  if (end.kind === 'interrupted') throw new Interrupted();
  if (end.kind === 'timeout') {
    throw new ReleaseError('timeout', `The release of ${version} has not ended within ${maxReleaseMs / 1000} s.`);
  }
  report.released(version, end.status);
  return end.status;
}
