import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { BUILT, startWorkerProcess } from '../integration/worker-process';
import type { WorkerProcess } from '../integration/worker-process';
import { describeWithLab } from '../lab/describe-with-lab';
import type { Lab } from '../lab/lab';
import type { Colour } from '../../src/spec/plan-types';
import type { Phase } from '../../src/workflows/api';
import { ApiProxy } from './api-proxy';
import type { SeenRequest } from './api-proxy';
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
  /** Left out where the phase alone tells: in one without requests. */
  readonly is?: (request: SeenRequest) => boolean;
  /** Where the request alone does not tell. */
  readonly phase?: Phase;
}

const write =
  (method: 'POST' | 'PATCH' | 'DELETE', path: RegExp, body?: RegExp) =>
  (request: SeenRequest): boolean =>
    request.method === method && path.test(request.path) && (body?.test(request.body) ?? true);

/** The write of a weight, by what the route is to remember of it: JSON within JSON. */
const weight = (value: number): ((request: SeenRequest) => boolean) =>
  write('PATCH', /\/httproutes\/shop$/, new RegExp(String.raw`\\"document\\":{\\"weight\\":${value}\b`));

/** Each of several deaths in the deploy costs it the start of a worker. */
const DEPLOY_TIMEOUT = '8m';

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
        { step: 'match', is: write('PATCH', /\/httproutes\/shop$/, /x-canary/) },
        { step: 'approval', phase: 'awaitingApproval' },
        { step: 'weight 50', is: weight(50) },
        {
          step: 'soak',
          phase: 'soaking',
          is: ({ method, path }) => method === 'GET' && /\/httproutes\/shop$/.test(path),
        },
        { step: 'weight 100', is: weight(100) },
        { step: 'promote', is: write('PATCH', /\/deployments\/shop$/, /promotion/) },
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
        {
          step: 'let the route go',
          is: write('PATCH', /\/httproutes\/shop$/, LETS_GO),
        },
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
        { step: 'promote', is: write('PATCH', /\/deployments\/shop$/, /promotion/) },
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

    'at each step of a blue-green release is replaced, and the release is promoted with no request lost': killedAt(
      [
        { step: 'hold the Service', is: write('PATCH', /\/services\/shop$/, /blue-green/) },
        { step: 'make a preview', is: write('POST', /\/services$/) },
        { step: 'make the idle colour', is: write('POST', /\/deployments$/) },
        { step: 'give it its pods', is: write('PATCH', /\/deployments\/shop-green$/, /\/spec\/replicas/) },
        { step: 'smoke test', is: ({ path }) => /\/services\/shop-green:http\/proxy/.test(path) },
        { step: 'switch', is: write('PATCH', /\/services\/shop$/, selects('green')) },
        {
          step: 'soak',
          phase: 'soaking',
          is: ({ method, path }) => method === 'GET' && /\/services\/shop$/.test(path),
        },
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
  #phase: Phase | null = null;
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
    // The request has arrived and its effect is there; nobody hears the answer.
    proxy.after = (request) => mortal.#dieAt(request);
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
    await scenario.until(({ phase, endedAt }) => {
      this.#phase = phase;
      const moment = this.#next();
      if (moment !== null && moment.is === undefined && moment.phase === phase) void this.#die(moment);
      return endedAt !== null;
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

  async stop(): Promise<void> {
    this.#proxy.after = () => undefined;
    await this.#replacing?.catch(this.#lose);
    await this.#worker?.end('SIGKILL');
    await this.#proxy.stop();
    await this.stack.stop();
  }

  /** Where it is to be killed next; null while it is being replaced, and after the last time. */
  #next(): Moment | null {
    return this.#replacing === null ? (this.#moments[this.deaths.length] ?? null) : null;
  }

  async #dieAt(request: SeenRequest): Promise<void> {
    const moment = this.#next();
    if (moment?.is?.(request) !== true) return;
    if (moment.phase !== undefined && moment.phase !== this.#phase) return;
    // Somebody else was faster: nothing has happened yet.
    if (request.status === null || request.status >= 300) return;
    await this.#die(moment);
  }

  async #die({ step }: Moment): Promise<void> {
    this.deaths.push(step);
    this.#replacing = this.#replace();
    await this.#replacing.catch(this.#lose);
    this.#replacing = null;
  }

  async #replace(): Promise<void> {
    await this.#worker?.end('SIGKILL');
    this.#worker = await newWorker(this.stack, this.#proxy);
  }
}

function newWorker(stack: ReleaseStack, proxy: ApiProxy): Promise<WorkerProcess> {
  return startWorkerProcess(stack.client, { TEMPORAL_ADDRESS: stack.address, KUBECONFIG: proxy.kubeconfig }, BUILT);
}
