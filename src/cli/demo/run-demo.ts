import { randomBytes } from 'node:crypto';
import type { SluiceClient } from '../../client/client-types';
import { messageOf, ReleaseError } from '../../errors';
import type { RunningTemporal } from '../../devserver/start-temporal';
import type { Outcome, ReleaseStatus } from '../../workflows/api';
import type { RunningWorker } from '../cli';
import { searchAttributeTypes } from '../commands/dev';
import { EXIT } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { follow } from '../follow';
import { listenForInterrupt } from '../interrupt';
import type { Interruption } from '../interrupt';
import { createReadableLogger } from '../readable-log';
import type { Session } from '../session';
import type { DemoReporter } from './reporter';
import { writeDemoSpec } from './demo-spec';
import { startLoad } from './load';
import type { Load, LoadCounts } from './load';
import { startShopProcess } from './shop-process';
import type { ShopProcess } from './shop-process';

export interface DemoOptions {
  /** 0: a free one. */
  readonly port: number;
  readonly uiPort: number;
  /** Leave everything open until Ctrl-C. */
  readonly keep: boolean;
}

const NAMESPACE = 'default';
const REQUESTS_PER_SECOND = 150;
const USERS = 2000;
/** The load ends by itself after that, and each release must have ended within the other. */
const MAX_LOAD_MS = 300_000;
const MAX_RELEASE_MS = 120_000;

/** The last line of stdout when all went as it should. */
const SUCCESS = 'demo: v2 promoted, v3 rolled back';

/** Thrown to leave the set-up when Ctrl-C comes in it. */
class Interrupted extends Error {}

/** Sets everything up, releases a healthy version and a failing one, and tells how that went. */
export async function runDemo(session: Session, options: DemoOptions, report: DemoReporter): Promise<ExitCode> {
  const interruption = listenForInterrupt(session.cli);
  const started = new Started(interruption);
  try {
    const stage = await setUp(session, options, { report, started });
    const problem = await play(session, stage, report);
    report.finish(problem === null ? SUCCESS : `demo: ${problem}`);
    if (options.keep) {
      session.warn(`Everything stays open until Ctrl-C. Temporal UI: ${stage.temporal.uiUrl ?? 'none'}`);
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

/** Everything that was started; stopped in reverse order, also what a Ctrl-C caught in the middle of its start. */
class Started {
  readonly #interruption: Interruption;
  readonly #stops: (() => Promise<void>)[] = [];

  constructor(interruption: Interruption) {
    this.#interruption = interruption;
  }

  /** Waits for a start, but not longer than until Ctrl-C; whatever comes of it, it will be stopped. */
  async keep<T>(start: Promise<T>, stop: (thing: T) => Promise<void>): Promise<T> {
    this.#stops.push(() => start.then(stop, () => undefined));
    return this.wait(start);
  }

  async wait<T>(work: Promise<T>): Promise<T> {
    const interrupted = this.#interruption.happened.then((): never => {
      throw new Interrupted();
    });
    return Promise.race([work, interrupted]);
  }

  async stopAll(complain: (sentence: string) => void): Promise<void> {
    for (const stop of this.#stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => complain(`Not everything was stopped: ${messageOf(error)}`));
    }
  }
}

interface Stage {
  readonly temporal: RunningTemporal;
  readonly client: SluiceClient;
  readonly load: Load;
  readonly specPath: string;
}

async function setUp(
  session: Session,
  options: DemoOptions,
  { report, started }: { readonly report: DemoReporter; readonly started: Started },
): Promise<Stage> {
  const { cli } = session;
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

  // Of this demo alone: it is never written anywhere.
  const token = randomBytes(24).toString('base64url');
  const start = (): Promise<ShopProcess> => started.keep(startShopProcess(token), (shop) => shop.stop());
  const shops = await Promise.all([start(), start()]);
  const urls = shops.map(({ url }) => url);
  report.setUp(`Shop: v1 at ${urls.join(' and ')}`, { instances: urls });

  await started.keep(startDemoWorker(session, temporal, token), (worker) => worker.stop());
  const client = await started.keep(cli.connect({ address: temporal.address, namespace: NAMESPACE }), (connected) =>
    connected.close(),
  );
  const spec = await started.keep(writeDemoSpec(urls), (file) => file.remove());
  const load = startLoad({ urls, path: '/checkout', perSecond: REQUESTS_PER_SECOND, users: USERS, maxMs: MAX_LOAD_MS });
  await started.keep(Promise.resolve(load), (generator) => generator.stop());
  report.setUp(`Load: ${REQUESTS_PER_SECOND} requests a second by ${USERS} users`, {
    perSecond: REQUESTS_PER_SECOND,
    users: USERS,
  });
  return { temporal, client, load, specPath: spec.path };
}

function startDemoWorker(session: Session, temporal: RunningTemporal, token: string): Promise<RunningWorker> {
  const { cli } = session;
  return cli.startWorker({
    address: temporal.address,
    namespace: NAMESPACE,
    env: { ...cli.env, SLUICE_ROUTER_TOKEN: token },
    // Its log would tear the live view; what matters is in the release's story.
    logger: createReadableLogger((line) => session.warn(line), session.noteLook, session.verbose ? 'info' : 'fatal'),
  });
}

/** Both releases; answers what went otherwise than it should, null when nothing did. */
async function play(session: Session, stage: Stage, report: DemoReporter): Promise<string | null> {
  const v2 = await release(session, stage, 'v2', report);
  const promoted = v2.outcome === 'promoted';
  const problems = promoted ? [] : [`v2 ${describeOutcome(v2)} instead of promoted`];
  // Without v2 as the stable version the second half would show something else than it says.
  if (promoted) {
    const v3 = await release(session, stage, 'v3', report);
    if (v3.outcome !== 'rolledBack') problems.push(`v3 ${describeOutcome(v3)} instead of rolled back`);
  }
  await stage.load.stop();
  const counts = stage.load.counts();
  report.counts(counts);
  const unhappy = stableProblem(counts);
  if (unhappy !== null) problems.push(unhappy);
  return problems.length === 0 ? null : problems.join('; ');
}

async function release(
  session: Session,
  { client, load, specPath }: Pick<Stage, 'client' | 'load' | 'specPath'>,
  version: string,
  report: DemoReporter,
): Promise<ReleaseStatus> {
  const plan = await session.cli.spec.plan(specPath, version);
  const { release: id } = await client.deploy(plan, { actor: session.actor(), reason: 'the demo' });
  report.releasing(version, id);
  load.takeShare();
  const ref = { service: plan.service, namespace: plan.namespace, release: id };
  const end = await follow(session, client, ref, { view: report.viewer(load), timeoutMs: MAX_RELEASE_MS });
  if (end.kind === 'interrupted') throw new Interrupted();
  if (end.kind === 'timeout') {
    throw new ReleaseError('timeout', `The release of ${version} has not ended within ${MAX_RELEASE_MS / 1000} s.`);
  }
  report.released(version, end.status);
  return end.status;
}

function describeOutcome({ outcome, message }: ReleaseStatus): string {
  const words: Record<Outcome, string> = {
    promoted: 'was promoted',
    cleanedUp: 'was cleaned up',
    rolledBack: 'was rolled back',
    aborted: 'was aborted',
    rejected: 'was rejected',
    superseded: 'was superseded',
    failed: 'failed',
  };
  return `${outcome === null ? 'has not ended' : words[outcome]} (${message})`;
}

/** What a user of the stable version had to suffer; null when nothing. */
function stableProblem({ stable, unanswered }: LoadCounts): string | null {
  if (stable.answers === 0) return 'no stable user was ever served, so nothing was shown';
  if (stable.errors > 0) return `${stable.errors} of ${stable.answers} answers to stable users were errors`;
  return unanswered > 0 ? `${unanswered} requests got no answer` : null;
}
