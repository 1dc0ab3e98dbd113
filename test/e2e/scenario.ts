import { isDeepStrictEqual } from 'node:util';
import type { DeployResult, SluiceClient } from '../../src/client/client-types';
import type { Colour } from '../../src/spec/plan-types';
import { fenceOn } from '../../src/traffic/fence';
import { OWNER_LABEL } from '../../src/targets/kubernetes/tracks';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { ReleaseStatus } from '../../src/workflows/api';
import type { Lab } from '../lab/lab';
import type { ShopVersion } from '../lab/shop-images';
import { byGateway } from './entrances';
import type { Entrance, Way } from './entrances';
import { eventually } from './eventually';
import { LabShop } from './lab-shop';
import { Load } from './load';
import type { Served } from './load';
import { becomeBlue, MADE_FOR_GOOD, otherColour, selectedColour } from './pair';
import { ADA, ended, labPlan, until } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';

let count = 0;

export interface ScenarioChoices {
  readonly replicas?: number;
  readonly prepare?: (shop: LabShop) => Promise<void>;
  /** A pair of Deployments, of which blue has the traffic, in the place of one. */
  readonly pair?: boolean;
  /** In the place of the gateway by the shop's HTTPRoute; `leave` when the scenario is over. */
  readonly enter?: Way['enter'];
  /** Objects from before, by `kind/name`, whose spec is meant to be another one at the end: the test looks itself. */
  readonly changing?: readonly string[];
}

interface Parts {
  readonly lab: Lab;
  readonly client: SluiceClient;
  readonly shop: LabShop;
  readonly entrances: readonly Entrance[];
  readonly loads: readonly Load[];
  readonly before: ReadonlyMap<string, KubernetesObject>;
}

/**
 * One service under a bounded load through the real gateway, from before the release until after its end; and what must
 * hold after each release, whatever happened during it.
 */
export class Scenario {
  readonly shop: LabShop;
  readonly entrances: readonly Entrance[];
  readonly loads: readonly Load[];
  /** Through the first entrance: the only one, unless the scenario has others made. */
  readonly load: Load;
  readonly #name: string;
  readonly #lab: Lab;
  readonly #client: SluiceClient;
  readonly #before: ReadonlyMap<string, KubernetesObject>;
  readonly #pair: boolean;
  readonly #changing: readonly string[];

  private constructor(name: string, parts: Parts, { pair = false, changing = [] }: ScenarioChoices) {
    const [load] = parts.loads;
    if (load === undefined) throw new Error('A scenario has an entrance.');
    this.#name = name;
    this.#lab = parts.lab;
    this.#client = parts.client;
    this.shop = parts.shop;
    this.entrances = parts.entrances;
    this.loads = parts.loads;
    this.load = load;
    this.#before = parts.before;
    this.#pair = pair;
    this.#changing = changing;
  }

  /** Runs a scenario with a shop of its own, and takes that away afterwards, however it ends. */
  static async run(
    lab: Lab,
    { client, cluster }: Pick<ReleaseStack, 'client' | 'cluster'>,
    name: string,
    play: (scenario: Scenario) => Promise<void>,
    choices: ScenarioChoices = {},
  ): Promise<void> {
    const { replicas = 2, prepare, pair = false, enter = byGateway(lab).enter } = choices;
    const shop = await LabShop.make(lab, cluster, `e2e-${process.pid}-${(count += 1)}`, replicas);
    try {
      if (pair) await becomeBlue(lab, shop);
      await prepare?.(shop);
      const { entrances, leave } = await enter(shop);
      const loads = entrances.map(({ url, host, ...how }) => new Load(url, host, { perSecond: 20, ...how }));
      try {
        const before = await shop.found();
        await play(new Scenario(name, { lab, client, shop, entrances, loads, before }, choices));
      } finally {
        await Promise.all(loads.map((load) => load.stop()));
        await leave();
      }
    } finally {
      await shop.remove();
    }
  }

  get namespace(): string {
    return this.shop.namespace;
  }

  get ref(): { readonly service: string; readonly namespace: string } {
    return { service: 'shop', namespace: this.namespace };
  }

  release(version: ShopVersion, more: SpecChoices = {}): Promise<DeployResult> {
    return this.releaseImage(this.shop.image(version), more);
  }

  releaseImage(image: string, more: SpecChoices = {}): Promise<DeployResult> {
    return this.#client.deploy(labPlan(this.#lab, this.namespace, image, more), { actor: ADA });
  }

  until(holds: (status: ReleaseStatus) => boolean): Promise<ReleaseStatus> {
    return until(this.#client, this.namespace, holds);
  }

  ended(): Promise<ReleaseStatus> {
    return ended(this.#client, this.namespace);
  }

  approve(): Promise<unknown> {
    return this.#client.approve(this.ref, { actor: ADA });
  }

  rollback(reason = 'by hand'): Promise<unknown> {
    return this.#client.rollback(this.ref, { actor: ADA, reason });
  }

  /**
   * All-old: every object as it was before, but for the fence, and the old version serving. `failing` is a version whose
   * own failures are not held against the release. `idlePods` of a pair: those that a hand has left to the other colour;
   * `byHand`: what the release held was taken off with kubectl.
   */
  async expectAllOld(
    status: ReleaseStatus | null,
    failing?: ShopVersion,
    { idlePods = 0, byHand = false }: { idlePods?: number; byHand?: boolean } = {},
  ): Promise<void> {
    expect(status?.outcome ?? 'rolledBack').toMatch(/^(rolledBack|aborted|rejected|superseded|cleanedUp)$/);
    await this.#expectSettled(status, { ...this.#old(), version: 'v1', idlePods, byHand });
    expect(this.lost(failing, { status })).toEqual([]);
  }

  /**
   * All-old where nobody served before: every object as it was, but for the fence, and nobody serves again. While the
   * failing version had the traffic, not one request was lost but those that it failed itself.
   */
  async expectNobodyAgain(status: ReleaseStatus, failing: ShopVersion): Promise<void> {
    expect(status.outcome).toBe('rolledBack');
    await this.#expectSettled(status, { ...this.#old(), version: null });
    const answered = this.load.served.filter(({ version }) => version === failing).map(({ at }) => at);
    expect(answered).not.toEqual([]);
    const [since, until] = [Math.min(...answered), Math.max(...answered)];
    expect(this.lost(failing, { status, since, until })).toEqual([]);
  }

  /** The split at a weight by the next answers of the gateway, beside what was asked for: a chi-squared test. */
  async expectShare(weight: number): Promise<void> {
    // Traefik takes a changed configuration at most every two seconds.
    const since = Date.now() + 2_500;
    const answers = (): number => Object.values(this.load.countsSince(since)).reduce((a, b) => a + b, 0);
    await this.until((status) => answers() >= 300 || status.weight !== weight);
    const { v1 = 0, v2 = 0, ...others } = this.load.countsSince(since);
    expect(others).toEqual({});
    expect(v1 + v2).toBeGreaterThanOrEqual(300);
    const share = weight / 100;
    const chiSquared = (v2 - (v1 + v2) * share) ** 2 / ((v1 + v2) * share * (1 - share));
    process.stderr.write(`e2e: at ${weight} %: ${v1} old, ${v2} new, chi-squared ${chiSquared.toFixed(2)}\n`);
    // One degree of freedom; a split that is right fails this once in a hundred thousand looks.
    expect(chiSquared).toBeLessThan(19.5);
  }

  /**
   * All-new: stable runs the digest that was resolved at the start, and nothing else is otherwise than before. Of a pair
   * the colour that the release went to has the traffic, and the other one no pods. `since`: when there first was somebody
   * who could answer.
   */
  async expectAllNew(
    status: ReleaseStatus,
    version: ShopVersion = 'v2',
    { failing, to = 'green', since = 0 }: { failing?: ShopVersion; to?: Colour; since?: number } = {},
  ): Promise<void> {
    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(status.version.artifact).toMatch(/\/shop(:\w+)?@sha256:[0-9a-f]{64}$/);
    const colour = this.#pair ? to : null;
    await this.#expectSettled(status, { image: status.version.artifact ?? '', version, colour, isNew: true });
    expect(this.lost(failing, { status, since })).toEqual([]);
  }

  /**
   * The requests that got no 200, but for those that the failing version answered so itself, which is its fault and what
   * the release is about; both numbers are said, beside that of all, so that a run shows them.
   */
  lost(
    failing?: ShopVersion,
    {
      status = null,
      since = 0,
      until = Infinity,
    }: { status?: ReleaseStatus | null; since?: number; until?: number } = {},
  ): readonly Served[] {
    const served = this.loads.flatMap((load) => load.served).filter(({ at }) => at >= since && at <= until);
    const failed = served.filter(({ status }) => status !== 200);
    const lost = failed.filter(({ version }) => failing === undefined || version !== failing);
    const line = `${this.#name}: ${served.length} requests, ${lost.length} lost`;
    const own = failing === undefined ? '' : `, ${failed.length - lost.length} failed by ${failing} itself`;
    process.stderr.write(`e2e: ${line}${own}\n`);
    const [first, last] = [lost[0], lost.at(-1)];
    if (first !== undefined && last !== undefined) {
      // Which step of the release it was tells whose fault it is.
      const story = (status?.events ?? []).map(({ at, type, message }) => `  ${clock(at)} ${type}: ${message}`);
      const when = `  lost from ${clock(first.at)} to ${clock(last.at)}`;
      process.stderr.write(`${[when, ...story].join('\n')}\n`);
    }
    return lost;
  }

  /** What has the traffic before a release. */
  #old(): Pick<Settled, 'image' | 'colour' | 'isNew'> {
    return { image: this.shop.image('v1'), colour: this.#pair ? 'blue' : null, isNew: false };
  }

  async #expectSettled(
    status: ReleaseStatus | null,
    { image, version, colour, isNew, idlePods = 0, byHand = false }: Settled,
  ): Promise<void> {
    expect(status?.compensations ?? []).toEqual([]);
    expect(status?.events.filter((one) => one.type === 'leftOver') ?? []).toEqual([]);
    const objects = await this.shop.found();
    const stays = this.#pair ? MADE_FOR_GOOD : [];
    expect([...objects.keys()]).toEqual([...new Set([...this.#before.keys(), ...stays])].sort());
    const serving = colour === null ? 'shop' : `shop-${colour}`;
    expect(await this.shop.imageOf(serving)).toBe(image);
    const changing = [...this.#changing, ...(isNew ? [`Deployment/${serving}`, ...SIZED] : [])];
    for (const [name, before] of this.#before) {
      if (changing.includes(name)) continue;
      const spec = colour === null || !isNew ? before['spec'] : specOfOther(name, before, colour);
      expect({ name, spec: objects.get(name)?.['spec'] }).toEqual({ name, spec });
    }
    for (const [name, object] of objects) expectReleased(name, object, { madeForGood: stays.includes(name), byHand });
    if (colour !== null) {
      expect(selectedColour(objects)).toBe(colour);
      await this.#expectPods(`shop-${otherColour(colour)}`, idlePods);
    }
    await this.#expectPods(serving);
    await this.#expectServing(version);
  }

  /** A Deployment has all the pods that it is to have, all of its newest version, and no others. */
  async #expectPods(name: string, count?: number): Promise<void> {
    await eventually(async () => {
      const { spec, status } = (await this.shop.find('Deployment', name)) as unknown as DeploymentNumbers;
      const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
      const wanted = count ?? spec.replicas;
      return [spec.replicas, replicas, updatedReplicas, availableReplicas].every((one) => one === wanted);
    }, `Deployment ${name} has all its pods, and no others`);
  }

  /**
   * Who has answered since a moment. Pods that are being taken away still answer a gateway that has not heard of it: where
   * another version than the expected one did, those count that answer once all such pods have gone.
   */
  async #answering(load: Load, since: number, version: ShopVersion | null): Promise<Record<string, number>> {
    const counts = load.countsSince(since);
    const others = Object.keys(counts).filter((one) => one !== version && !one.startsWith('no version'));
    if (others.length === 0) return counts;
    await this.shop.drained();
    const gone = Date.now();
    await eventually(
      () => Object.values(load.countsSince(gone)).reduce((a, b) => a + b, 0) >= 10,
      'the gateway has answered ten times after the pods have gone',
    );
    return load.countsSince(gone);
  }

  /** This version is who answers, or (null) none, whichever way a request comes in. */
  async #expectServing(version: ShopVersion | null): Promise<void> {
    const since = Date.now();
    for (const load of this.loads) {
      await eventually(
        () => Object.values(load.countsSince(since)).reduce((a, b) => a + b, 0) >= 10,
        'the gateway has answered ten times',
      );
      const who = Object.keys(await this.#answering(load, since, version));
      if (version === null) expect(who.filter((one) => !one.startsWith('no version'))).toEqual([]);
      else expect(who).toEqual([version]);
    }
  }
}

/** How things are once a release has ended. */
interface Settled {
  readonly image: string;
  /** Who answers; null for nobody. */
  readonly version: ShopVersion | null;
  /** Which has the traffic; null where there are no colours. */
  readonly colour: Colour | null;
  readonly isNew: boolean;
  /** Of the colour without the traffic; none by default. */
  readonly idlePods?: number;
  /** True where kubectl has taken back what the release then could not let go of itself. */
  readonly byHand?: boolean;
}

function clock(at: number): string {
  return new Date(at).toISOString().slice(11, 23);
}

/** What an autoscaler of the user's is given by hand during a release. */
const SIZED = ['HorizontalPodAutoscaler/shop'];

/** What is meant to be left of an object once the other colour has won: the Service finds that, and this one has no pods. */
function specOfOther(name: string, { spec }: KubernetesObject, colour: Colour): unknown {
  if (name === `Deployment/shop-${otherColour(colour)}`) return { ...(spec as object), replicas: 0 };
  if (name !== 'Service/shop') return spec;
  const { selector } = spec as { readonly selector: Readonly<Record<string, string>> };
  return { ...(spec as object), selector: { ...selector, color: colour } };
}

interface DeploymentNumbers {
  readonly spec: { readonly replicas: number };
  readonly status: {
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
  };
}

/** What stays noted of a manager whose annotations somebody else takes off: the map that they were in, and no field. */
const EMPTIED = { 'f:metadata': { 'f:annotations': {} } };

/** The release has let go of an object: nothing of it is left but the fence, and no field is its own. */
function expectReleased(
  name: string,
  object: KubernetesObject,
  { madeForGood, byHand }: { readonly madeForGood: boolean; readonly byHand: boolean },
): void {
  const { labels = {}, annotations = {}, managedFields } = object.metadata;
  const entries = (managedFields ?? []) as readonly { readonly manager?: string; readonly fieldsV1?: object }[];
  const ours = entries.filter(({ manager }) => manager === 'sluice').map(({ fieldsV1 }) => fieldsV1);
  const left = Object.keys(annotations).filter((key) => key.startsWith('sluice.dev/'));
  const owner = madeForGood ? undefined : labels[OWNER_LABEL];
  expect({
    name,
    owner,
    left,
    ours: byHand ? ours.filter((fields) => !isDeepStrictEqual(fields, EMPTIED)) : ours,
  }).toEqual({
    name,
    owner: undefined,
    left: fenceOn(object) === null ? [] : ['sluice.dev/fence'],
    ours: [],
  });
}

/** So many shops at once; more would keep two cores busy with nothing but starting pods. */
const AT_ONCE = 3;

/**
 * Scenarios that need nothing of each other, played side by side: each is a test of its own, and what one comes to is
 * told in its own place.
 */
export function together(scenarios: Readonly<Record<string, (name: string) => Promise<void>>>, atOnce = AT_ONCE): void {
  const runs = new Map<string, Promise<unknown>>();
  beforeAll(() => {
    let turn: Promise<unknown>[] = Array.from({ length: atOnce }, () => Promise.resolve());
    for (const [name, play] of Object.entries(scenarios)) {
      const [next = Promise.resolve(), ...others] = turn;
      // Null for one that went well: a failure is thrown by its test, and is not one of whoever comes after it.
      const run = next
        .then(() => play(name))
        .then(
          () => null,
          (error: unknown) => error ?? new Error('It failed without a word.'),
        );
      runs.set(name, run);
      turn = [...others, run];
    }
  });
  afterAll(async () => {
    await Promise.all(runs.values());
  }, 600_000);
  for (const name of Object.keys(scenarios)) {
    it(name, async () => {
      const error = await runs.get(name);
      if (error !== null) throw error;
    });
  }
}
