import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { BUILT, startWorkerProcess } from '../integration/worker-process';
import type { WorkerProcess } from '../integration/worker-process';
import { describeWithLab } from '../lab/describe-with-lab';
import type { Lab } from '../lab/lab';
import type { Colour } from '../../src/spec/plan-types';
import type { Phase, ReleaseStatus } from '../../src/workflows/api';
import { ApiProxy } from './api-proxy';
import type { Fate, SeenRequest } from './api-proxy';
import { eventually } from './eventually';
import { pairChoices } from './pair';
import { startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';
import type { ScenarioChoices } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

/** A request by which a worker is known to be in the middle of a step. */
interface Moment {
  readonly step: string;
  /** Left out where the status alone tells: in a time without requests. */
  readonly is?: (request: SeenRequest) => boolean;
  /** Where the request alone does not tell. */
  readonly during?: (status: ReleaseStatus) => boolean;
  /** Where there are such requests before, too: one that the same worker has made, and that has arrived. */
  readonly after?: (request: SeenRequest) => boolean;
  /** True where the worker dies with the request unsent; else that has arrived, and nobody hears the answer. */
  readonly unsent?: boolean;
}

const at =
  (phase: Phase, weight?: number) =>
  (status: ReleaseStatus): boolean =>
    status.phase === phase && (weight === undefined || status.weight === weight);

const look =
  (path: RegExp) =>
  (request: SeenRequest): boolean =>
    request.method === 'GET' && path.test(request.path);

const ROUTE = /\/httproutes\/shop$/;

const write =
  (method: 'POST' | 'PATCH' | 'DELETE', path: RegExp, body?: RegExp) =>
  (request: SeenRequest): boolean =>
    request.method === method && path.test(request.path) && (body?.test(request.body) ?? true);

/** The write of a weight, by what the route is to remember of it: JSON within JSON. */
const weight = (value: number): ((request: SeenRequest) => boolean) =>
  write('PATCH', ROUTE, new RegExp(String.raw`\\"document\\":{\\"weight\\":${value}\b`));

/** The write by which stable gets the proven version. */
const PROMOTES = write('PATCH', /\/deployments\/shop$/, /promotion/);

/** Each of several deaths in the deploy costs it the start of a worker. */
const DEPLOY_TIMEOUT = '8m';

/** So long that its beginning is seen. */
const DRAIN = '6s';

/** A person has the word in between, and sees the new version by its header. */
const BEFORE_WEIGHTS = '    - match: { header: { x-canary: "true" } }\n    - approve: { by: [oncall], timeout: 10m }';

/** The write by which the Service finds the pods of a colour. */
const selects = (colour: Colour): RegExp => new RegExp(`"path":"/spec/selector/color","value":"${colour}"`);

/** The release's last write to what it held. */
const LETS_GO = /"remove","path":"\/metadata\/annotations\/sluice\.dev~1traffic"/;

describeWithLab('a worker that is killed with SIGKILL', (lab) => {
  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);

  const killedAt =
    (
      moments: readonly Moment[],
      begin: (scenario: Scenario) => Promise<unknown>,
      check: (scenario: Scenario, mortal: MortalWorker) => Promise<void>,
      choices: ScenarioChoices = {},
    ) =>
    async (name: string): Promise<void> => {
      const mortal = await MortalWorker.start(lab, moments);
      try {
        const play = async (one: Scenario): Promise<void> => {
          await begin(one);
          await Promise.race([mortal.lost, Promise.all([mortal.watch(one), check(one, mortal)])]);
        };
        await Scenario.run(lab, mortal.stack, name, play, choices);
        expect(mortal.deaths).toEqual(moments.map(({ step }) => step));
      } finally {
        await mortal.stop();
      }
    };

  together({
    'at each step of a release is replaced, and the release is promoted with no request lost': killedAt(
      [
        { step: 'deploy', is: write('POST', /\/deployments$/) },
        { step: 'smoke test', is: ({ path }) => /\/services\/shop-canary:http\/proxy/.test(path) },
        { step: 'match', is: write('PATCH', ROUTE, /x-canary/) },
        { step: 'approval', during: at('awaitingApproval') },
        { step: 'weight 50', is: weight(50) },
        { step: 'soak', during: at('soaking'), is: look(ROUTE) },
        { step: 'weight 100', is: weight(100) },
        { step: 'promote', is: PROMOTES },
        { step: 'hand back half', is: weight(50) },
        { step: 'hand back all', is: weight(0) },
        { step: 'clean up', is: write('DELETE', /\/deployments\/shop-canary$/) },
      ],
      (one) => one.release('v2', { before: BEFORE_WEIGHTS, weights: [50, 100], deployTimeout: DEPLOY_TIMEOUT }),
      async (one, mortal) => {
        await mortal.replacedAfter('approval');
        await one.approve();
        await one.expectAllNew(await one.ended());
      },
    ),

    'at each step of a roll back is replaced, and everything is as it was': killedAt(
      [
        { step: 'weight 50', is: weight(50) },
        { step: 'weight 0', is: weight(0) },
        { step: 'let the route go', is: write('PATCH', ROUTE, LETS_GO) },
        { step: 'remove the Deployment', is: write('DELETE', /\/deployments\/shop-canary$/) },
        { step: 'remove the Service', is: write('DELETE', /\/services\/shop-canary$/) },
      ],
      (one) => one.release('v3', { weights: [50, 100], soak: '5m' }),
      async (one) => {
        const status = await one.ended();

        expect(status.message).toMatch(/canary requests failed/);
        await one.expectAllOld(status, 'v3');
      },
    ),

    'at each step of a roll back from a promotion is replaced, and stable runs what it ran before': killedAt(
      [
        { step: 'promote', is: PROMOTES },
        { step: 'restore stable', is: write('PATCH', /\/deployments\/shop$/, /restored/) },
        { step: 'weight 0', is: weight(0) },
        { step: 'remove the Deployment', is: write('DELETE', /\/deployments\/shop-canary$/) },
      ],
      (one) => one.release('v2', { weights: [100], deployTimeout: DEPLOY_TIMEOUT }),
      async (one, mortal) => {
        await mortal.replacedAfter('promote');
        await one.rollback();
        await one.expectAllOld(await one.ended());
      },
    ),

    'before it has sent anything, and in between, is replaced, and the release is promoted': killedAt(
      [
        { step: 'first look', unsent: true, is: look(/\/deployments\/shop$/) },
        { step: 'deploy', unsent: true, is: write('POST', /\/deployments$/) },
        { step: 'weight 100', unsent: true, is: weight(100) },
        { step: 'soak at 100', during: at('soaking', 100), is: look(ROUTE) },
        { step: 'promote', unsent: true, is: PROMOTES },
        { step: 'wait for stable’s new pods', after: PROMOTES, is: look(/\/deployments\/shop$/) },
        { step: 'smoke test of stable’s new pods', is: look(/\/services\/shop:http\/proxy/) },
        { step: 'hand back half', unsent: true, is: weight(50) },
        { step: 'watch of stable’s new pods', during: at('promoting', 50), is: look(ROUTE) },
        { step: 'hand back all', unsent: true, is: weight(0) },
        { step: 'drain', during: ({ outcome, endedAt }) => outcome === 'promoted' && endedAt === null },
        { step: 'clean up', unsent: true, is: write('DELETE', /\/deployments\/shop-canary$/) },
      ],
      (one) => one.release('v2', { weights: [100], drain: DRAIN, deployTimeout: DEPLOY_TIMEOUT }),
      async (one) => one.expectAllNew(await one.ended()),
    ),

    'before a roll back has sent anything, and in its drain, is replaced, and everything is as it was': killedAt(
      [
        { step: 'weight 50', unsent: true, is: weight(50) },
        { step: 'weight 0', unsent: true, is: weight(0) },
        { step: 'drain', during: at('rollingBack', 0) },
        { step: 'let the route go', unsent: true, is: write('PATCH', ROUTE, LETS_GO) },
        { step: 'remove the Deployment', unsent: true, is: write('DELETE', /\/deployments\/shop-canary$/) },
      ],
      (one) => one.release('v2', { weights: [50, 100], soak: '5m', drain: DRAIN, deployTimeout: DEPLOY_TIMEOUT }),
      async (one, mortal) => {
        await mortal.replacedAfter('weight 50');
        await one.until(at('soaking', 50));
        await one.rollback();
        await one.expectAllOld(await one.ended());
      },
    ),

    'at each step of a blue-green release is replaced, and the release is promoted with no request lost': killedAt(
      [
        { step: 'hold the Service', is: write('PATCH', /\/services\/shop$/, /blue-green/) },
        { step: 'make a preview', is: write('POST', /\/services$/) },
        { step: 'make the idle colour', is: write('POST', /\/deployments$/) },
        { step: 'give it its pods', is: write('PATCH', /\/deployments\/shop-green$/, /\/spec\/replicas/) },
        { step: 'smoke test', is: ({ path }) => /\/services\/shop-green:http\/proxy/.test(path) },
        { step: 'switch', is: write('PATCH', /\/services\/shop$/, selects('green')) },
        { step: 'soak', during: at('soaking'), is: look(/\/services\/shop$/) },
        // Looks write nothing where everything is as it was asked for.
        { step: 'promote', is: write('PATCH', /\/services\/shop$/) },
        { step: 'lay the old colour down', is: write('PATCH', /\/deployments\/shop-blue$/, /\/spec\/replicas/) },
        { step: 'let the Service go', is: write('PATCH', /\/services\/shop$/, LETS_GO) },
      ],
      (one) => one.release('v2', pairChoices({ keepOld: '4s', deployTimeout: DEPLOY_TIMEOUT })),
      async (one) => one.expectAllNew(await one.ended()),
      { pair: true },
    ),

    'at each step of the way back of a blue-green release is replaced, and everything is as it was': killedAt(
      [
        { step: 'switch', is: write('PATCH', /\/services\/shop$/, selects('green')) },
        { step: 'switch back', is: write('PATCH', /\/services\/shop$/, selects('blue')) },
        { step: 'lay the new colour down', is: write('PATCH', /\/deployments\/shop-green$/, /\/spec\/replicas/) },
        { step: 'let the Service go', is: write('PATCH', /\/services\/shop$/, LETS_GO) },
      ],
      (one) => one.release('v3', pairChoices({ soak: '5m', deployTimeout: DEPLOY_TIMEOUT })),
      async (one) => {
        const status = await one.ended();

        expect(status.message).toMatch(/canary requests failed/);
        await one.expectAllOld(status, 'v3');
      },
      { pair: true },
    ),

    'while the old colour is kept is replaced, and the way back is one write': killedAt(
      [
        { step: 'hold the Service', unsent: true, is: write('PATCH', /\/services\/shop$/, /blue-green/) },
        { step: 'approval', during: at('awaitingApproval') },
        { step: 'weight 50', unsent: true, is: weight(50) },
        { step: 'soak at 50', during: at('soaking', 50), is: look(ROUTE) },
        { step: 'switch', unsent: true, is: write('PATCH', /\/services\/shop$/, selects('green')) },
        { step: 'keep the old colour', during: ({ keepOld }) => (keepOld ?? null) !== null },
        { step: 'switch back', unsent: true, is: write('PATCH', /\/services\/shop$/, selects('blue')) },
        { step: 'drain', during: at('rollingBack', 0) },
        {
          step: 'lay the new colour down',
          unsent: true,
          is: write('PATCH', /\/deployments\/shop-green$/, /\/spec\/replicas/),
        },
      ],
      (one) => {
        const before = '    - approve: { by: [oncall], timeout: 10m }';
        const traffic = '{ gatewayAPI: { httpRoute: shop } }';
        const timed = { drain: DRAIN, deployTimeout: DEPLOY_TIMEOUT };
        return one.release('v2', pairChoices({ before, traffic, weights: [50, 100], keepOld: '10m', ...timed }));
      },
      async (one, mortal) => {
        await mortal.replacedAfter('approval');
        await one.approve();
        await mortal.replacedAfter('keep the old colour');
        const written = mortal.writes().length;
        await one.rollback();
        const status = await one.ended();
        const [first, ...others] = mortal.writes().slice(written);

        expect(first).toMatch(selects('blue'));
        // The route, whose split has ended, goes on sending everything to the Service.
        expect(others.filter((body) => body.includes('"path":"/spec/selector'))).toEqual([]);
        await one.expectAllOld(status);
      },
      { pair: true },
    ),
  });
});

/** A worker, a process of its own, that is killed at each of several moments, and replaced each time. */
class MortalWorker {
  readonly stack: ReleaseStack;
  /** The steps at which it was killed so far. */
  readonly deaths: string[] = [];
  /** Rejects when there is no worker to replace it: nobody would go on with the release. */
  readonly lost: Promise<never>;
  #lose: (error: unknown) => void = () => undefined;
  readonly #proxy: ApiProxy;
  readonly #moments: readonly Moment[];
  #worker: WorkerProcess | null = null;
  /** How many requests there had been when it began. */
  #bornAt = 0;
  #status: ReleaseStatus | null = null;
  #replacing: Promise<void> | null = null;

  private constructor(stack: ReleaseStack, proxy: ApiProxy, moments: readonly Moment[]) {
    this.stack = stack;
    this.#proxy = proxy;
    this.#moments = moments;
    this.lost = new Promise((_, reject) => (this.#lose = reject));
    this.lost.catch(() => undefined);
  }

  static async start(lab: Lab, moments: readonly Moment[]): Promise<MortalWorker> {
    const proxy = await ApiProxy.start(lab.kubeconfig);
    const mortal = new MortalWorker(await startReleaseStack(lab, { worker: false }), proxy, moments);
    proxy.after = (request) => mortal.#dieAfter(request);
    proxy.before = (request) => mortal.#dieBefore(request);
    try {
      await mortal.#replace();
    } catch (error) {
      await mortal.stop();
      throw error;
    }
    return mortal;
  }

  /** Follows the release to its end. */
  async watch(scenario: Scenario): Promise<void> {
    await scenario.until((status) => {
      this.#status = status;
      const moment = this.#next();
      if (moment !== null && moment.is === undefined && moment.during?.(status) === true) void this.#die(moment);
      return status.endedAt !== null;
    });
  }

  /** When it was killed at that step, and another one is there. */
  async replacedAfter(step: string): Promise<void> {
    await eventually(
      () => this.deaths.includes(step) && this.#replacing === null,
      `it is replaced at ${step}`,
      240_000,
    );
  }

  /** What was written so far: the bodies, in their order. */
  writes(): readonly string[] {
    const arrived = this.#proxy.requests.filter(({ method, status }) => method !== 'GET' && (status ?? 500) < 300);
    return arrived.map(({ body }) => body);
  }

  async stop(): Promise<void> {
    this.#proxy.after = () => undefined;
    this.#proxy.before = () => 'pass';
    await this.#replacing?.catch(this.#lose);
    await this.#worker?.end('SIGKILL');
    await this.#proxy.stop();
    await this.stack.stop();
  }

  /** Where it is to be killed next; null while it is being replaced, and after the last time. */
  #next(): Moment | null {
    return this.#replacing === null ? (this.#moments[this.deaths.length] ?? null) : null;
  }

  async #dieBefore(request: SeenRequest): Promise<Fate> {
    const moment = this.#momentOf(request);
    if (moment?.unsent !== true) return 'pass';
    await this.#die(moment);
    return 'break';
  }

  /** The request has arrived and its effect is there; nobody hears the answer. */
  async #dieAfter(request: SeenRequest): Promise<void> {
    // Somebody else was faster: nothing has happened yet.
    if (request.status === null || request.status >= 300) return;
    const moment = this.#momentOf(request);
    if (moment !== null && moment.unsent !== true) await this.#die(moment);
  }

  /** The next moment, where this is its request. */
  #momentOf(request: SeenRequest): Moment | null {
    const moment = this.#next();
    if (moment?.is?.(request) !== true) return null;
    const { during, after } = moment;
    if (during !== undefined && (this.#status === null || !during(this.#status))) return null;
    const arrived = this.#proxy.requests.slice(this.#bornAt).filter(({ status }) => (status ?? 500) < 300);
    return after === undefined || arrived.some(after) ? moment : null;
  }

  async #die({ step }: Moment): Promise<void> {
    this.deaths.push(step);
    this.#replacing = this.#replace();
    await this.#replacing.catch(this.#lose);
    this.#replacing = null;
  }

  async #replace(): Promise<void> {
    await this.#worker?.end('SIGKILL');
    this.#bornAt = this.#proxy.requests.length;
    this.#worker = await newWorker(this.stack, this.#proxy);
  }
}

function newWorker(stack: ReleaseStack, proxy: ApiProxy): Promise<WorkerProcess> {
  return startWorkerProcess(stack.client, { TEMPORAL_ADDRESS: stack.address, KUBECONFIG: proxy.kubeconfig }, BUILT);
}
