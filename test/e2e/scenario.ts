import type { SluiceClient } from '../../src/client/client-types';
import { fenceOn } from '../../src/traffic/fence';
import { OWNER_LABEL } from '../../src/targets/kubernetes/tracks';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { ReleaseStatus } from '../../src/workflows/api';
import type { Lab } from '../lab/lab';
import { shopHost } from '../lab/shop-manifests';
import type { ShopVersion } from '../lab/shop-images';
import { LabShop } from './lab-shop';
import { Load } from './load';
import type { Served } from './load';
import { ADA, ended, labPlan, until } from './release-stack';
import type { ReleaseStack, SpecChoices } from './release-stack';

/** A fault that is over takes the gateway and the kubelet a moment; what is not so by then is not so. */
const SETTLED_MS = 20_000;

let count = 0;

/**
 * One service under a bounded load through the real gateway, from before the release until after its end; and what must
 * hold after each release, whatever happened during it.
 */
export class Scenario {
  readonly shop: LabShop;
  readonly load: Load;
  readonly #name: string;
  readonly #lab: Lab;
  readonly #client: SluiceClient;
  readonly #before: ReadonlyMap<string, KubernetesObject>;

  private constructor(
    name: string,
    parts: { lab: Lab; client: SluiceClient; shop: LabShop; load: Load },
    before: ReadonlyMap<string, KubernetesObject>,
  ) {
    this.#name = name;
    this.#lab = parts.lab;
    this.#client = parts.client;
    this.shop = parts.shop;
    this.load = parts.load;
    this.#before = before;
  }

  /** Runs a scenario with a shop of its own, and takes that away afterwards, however it ends. */
  static async run(
    lab: Lab,
    { client, cluster }: Pick<ReleaseStack, 'client' | 'cluster'>,
    name: string,
    play: (scenario: Scenario) => Promise<void>,
    { replicas = 2, prepare }: { replicas?: number; prepare?: (shop: LabShop) => Promise<void> } = {},
  ): Promise<void> {
    const shop = await LabShop.make(lab, cluster, `e2e-${process.pid}-${(count += 1)}`, replicas);
    try {
      await prepare?.(shop);
      const load = new Load(lab.gatewayUrl, shopHost(shop.namespace), { perSecond: 20 });
      try {
        const scenario = new Scenario(name, { lab, client, shop, load }, await shop.found());
        await play(scenario);
      } finally {
        await load.stop();
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

  release(version: ShopVersion, more: SpecChoices = {}): Promise<unknown> {
    return this.releaseImage(this.shop.image(version), more);
  }

  releaseImage(image: string, more: SpecChoices = {}): Promise<unknown> {
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
   * own failures are not held against the release.
   */
  async expectAllOld(status: ReleaseStatus | null, failing?: ShopVersion): Promise<void> {
    expect(status?.outcome ?? 'rolledBack').toMatch(/^(rolledBack|aborted|rejected|superseded)$/);
    await this.#expectSettled(status, this.shop.image('v1'), 'v1');
    expect(this.lost(failing)).toEqual([]);
  }

  /** All-new: stable runs the digest that was resolved at the start, and nothing else is otherwise than before. */
  async expectAllNew(status: ReleaseStatus, version: ShopVersion = 'v2', failing?: ShopVersion): Promise<void> {
    expect(`${status.outcome}: ${status.message}`).toMatch(/^promoted/);
    expect(status.version.artifact).toMatch(/\/shop@sha256:[0-9a-f]{64}$/);
    await this.#expectSettled(status, status.version.artifact ?? '', version);
    expect(this.lost(failing)).toEqual([]);
  }

  /** The requests that got no 200, and how many there were of all; said, so that a run shows its numbers. */
  lost(failing?: ShopVersion): readonly Served[] {
    const lost = this.load.served.filter(
      (one) => one.status !== 200 && (failing === undefined || one.version !== failing),
    );
    const line = `${this.#name}: ${this.load.served.length} requests, ${lost.length} lost`;
    process.stderr.write(`e2e: ${line}${failing === undefined ? '' : `, those of ${failing} itself apart`}\n`);
    return lost;
  }

  async #expectSettled(status: ReleaseStatus | null, image: string, version: ShopVersion): Promise<void> {
    expect(status?.compensations ?? []).toEqual([]);
    expect(status?.events.filter((one) => one.type === 'leftOver') ?? []).toEqual([]);
    const objects = await this.shop.found();
    expect([...objects.keys()]).toEqual([...this.#before.keys()]);
    expect(await this.shop.imageOf()).toBe(image);
    const route = (known: ReadonlyMap<string, KubernetesObject>): unknown => known.get('HTTPRoute/shop')?.['spec'];
    expect(route(objects)).toEqual(route(this.#before));
    for (const [name, object] of objects) expectReleased(name, object);
    await this.#expectServing(version);
  }

  /** Stable has all its pods in this version, and they are who answers. */
  async #expectServing(version: ShopVersion): Promise<void> {
    await eventually(async () => {
      const { spec, status } = (await this.shop.find('Deployment')) as unknown as DeploymentNumbers;
      const { replicas = 0, updatedReplicas = 0, availableReplicas = 0 } = status;
      return [replicas, updatedReplicas, availableReplicas].every((one) => one === spec.replicas);
    }, `stable has all its pods, and no others`);
    const since = Date.now();
    await eventually(
      () => Object.values(this.load.countsSince(since)).reduce((a, b) => a + b, 0) >= 10,
      'the gateway has answered ten times',
    );
    expect(Object.keys(this.load.countsSince(since))).toEqual([version]);
  }
}

interface DeploymentNumbers {
  readonly spec: { readonly replicas: number };
  readonly status: {
    readonly replicas?: number;
    readonly updatedReplicas?: number;
    readonly availableReplicas?: number;
  };
}

/** The release has let go of an object: nothing of it is left but the fence, and no field is its own. */
function expectReleased(name: string, object: KubernetesObject): void {
  const { labels = {}, annotations = {}, managedFields } = object.metadata;
  const managers = ((managedFields ?? []) as readonly { manager?: string }[]).map((entry) => entry.manager);
  const left = Object.keys(annotations).filter((key) => key.startsWith('sluice.dev/'));
  expect({ name, owner: labels[OWNER_LABEL], left, ours: managers.includes('sluice') }).toEqual({
    name,
    owner: undefined,
    left: fenceOn(object) === null ? [] : ['sluice.dev/fence'],
    ours: false,
  });
}

/** Looks until it is so. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  withinMs = SETTLED_MS,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`It did not come to be within ${withinMs / 1_000} s that ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** So many shops at once; more would keep two cores busy with nothing but starting pods. */
const AT_ONCE = 4;

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
