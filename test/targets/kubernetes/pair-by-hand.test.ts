import { createBlueGreenTarget } from '../../../src/targets/kubernetes/blue-green/blue-green-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import { lookAtService } from '../../../src/targets/kubernetes/service-look';
import type { Target, TargetWrite } from '../../../src/targets/target';
import { describeWithApiServer, installDefinitions } from './api-server';
import { DeploymentController } from './deployment-controller';
import { keeping, mirroring, rollsOutAnEdit, withOwn } from './mirroring';
import { targetPlan } from './target-plans';
import { failureOf } from '../failure-of';
import { namespaceObject, shopDeployment, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const V3 = 'registry.example/shop:v3';
const V9 = 'registry.example/shop:v9';
const signal = AbortSignal.timeout(10 * 60_000);

interface Who {
  readonly release?: string;
  readonly epoch?: number;
  readonly version?: string;
}

function write(step: number, { version = V2, ...who }: Who = {}): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt: 1, ...who };
  return { version, artifact: version, fence, signal, timeoutMs: 20_000 };
}

function shift(step: number, weight: number, previousWeight: number, who: Who = {}) {
  return { ...write(step, who), weight, previousWeight, match: [] } as const;
}

function look(step: number, weight: number, who: Who = {}) {
  return { ...write(step, who), weight, match: [] } as const;
}

const promotion = { release: 'r1', smokeTest: null, timeoutMs: 20_000 };
const BLUE = { app: 'checkout', color: 'blue' };
const GREEN = { app: 'checkout', color: 'green' };

describeWithApiServer('what others do to blue and green meanwhile, against a real API server', (server) => {
  let cluster: Cluster;
  let hand: Cluster;
  let namespace: string;
  let controller: DeploymentController;
  let target: Target;
  let count = 0;

  beforeAll(async () => {
    cluster = server().connect();
    hand = server().connect({ fieldManager: 'hand' });
    await installDefinitions(cluster, ['traefikservices']);
  }, 300_000);

  beforeEach(async () => {
    namespace = `pair-by-hand-${(count += 1)}`;
    await hand.create(namespaceObject(namespace), { signal });
    const service = shopService({ namespace, name: 'checkout' }, BLUE);
    for (const object of [deployment('blue', V1), service, split()]) await hand.create(object, { signal });
    controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
    target = targetOf();
  });

  afterEach(() => controller.stop());
  afterAll(() => {
    cluster.close();
    hand.close();
  });

  const targetOf = (changes: Parameters<typeof targetPlan>[0] = {}, by: Cluster = cluster): Target =>
    createBlueGreenTarget(
      targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' }, ...changes }),
      { cluster: by, resolve: (image) => Promise.resolve(image) },
    );
  const splitting = (): Target => targetOf({ traffic: { kind: 'traefik', traefikService: 'checkout-split' } });

  const deployment = (colour: 'blue' | 'green', image: string): KubernetesObject =>
    shopDeployment(
      { namespace, name: `checkout-${colour}` },
      { image, replicas: 3, labels: { app: 'checkout', color: colour } },
    );

  function split(): KubernetesObject {
    return {
      apiVersion: 'traefik.io/v1alpha1',
      kind: 'TraefikService',
      metadata: { name: 'checkout-split', namespace },
      spec: { weighted: { services: [{ name: 'checkout', port: 80, weight: 1 }] } },
    };
  }

  const refOf = (kind: 'Deployment' | 'Service' | 'TraefikService', name: string) => {
    const apiVersion = { Deployment: 'apps/v1', Service: 'v1', TraefikService: 'traefik.io/v1alpha1' }[kind];
    return { apiVersion, kind, namespace, name };
  };
  const specOf = async <T>(kind: Parameters<typeof refOf>[0], name: string): Promise<T> =>
    (await cluster.get(refOf(kind, name), { signal }))['spec'] as T;
  const selected = async (name = 'checkout'): Promise<string | undefined> =>
    (await specOf<{ selector: Record<string, string> }>('Service', name)).selector['color'];
  const replicasOf = async (colour: string): Promise<number> =>
    (await specOf<{ replicas: number }>('Deployment', `checkout-${colour}`)).replicas;
  const imageOf = async (colour: string): Promise<string | undefined> =>
    (await specOf<{ template: { spec: { containers: { image: string }[] } } }>('Deployment', `checkout-${colour}`))
      .template.spec.containers[0]?.image;
  /** Where the traffic goes, the pods of both, and what they run. */
  const state = async () => ({
    serves: await selected(),
    blue: [await imageOf('blue'), await replicasOf('blue')],
    green: [await imageOf('green'), await replicasOf('green')],
  });
  const patch = (
    kind: Parameters<typeof refOf>[0],
    name: string,
    merge: Readonly<Record<string, unknown>>,
  ): Promise<KubernetesObject> => hand.patch(refOf(kind, name), { type: 'merge', patch: merge }, { signal });
  const setImage = async (colour: string, image: string, more: { replicas?: number } = {}): Promise<void> => {
    const template = { spec: { containers: [{ name: 'web', image }] } };
    await patch('Deployment', `checkout-${colour}`, { spec: { ...more, template } });
  };
  /** As a sync does that replaces objects by those in Git. */
  const replaceService = async (selector: Record<string, string>): Promise<void> => {
    const annotations = { 'sluice.dev/fence': null, 'sluice.dev/traffic': null, 'sluice.dev/blue-green': null };
    await patch('Service', 'checkout', { metadata: { annotations }, spec: { selector } });
  };

  it('another image that the new one was given while nobody looked is taken away before the switch', async () => {
    await target.deploy(write(1));
    await setImage('green', V9, { replicas: 0 });
    const said = await target.setWeight(shift(2, 100, 0));

    expect(said).toMatch(/finds Deployment checkout-green.*had the image .*:v9, and was given .*:v2 again before that/);
    expect(await state()).toEqual({ serves: 'green', blue: [V1, 3], green: [V2, 3] });
  });

  it('another image than the tested one is not promoted', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await setImage('green', V9);
    const failure = await failureOf(target.promote({ ...write(3), ...promotion }));

    expect(failure).toMatchObject({ kind: 'invalidTarget' });
    expect(failure.message).toMatch(/checkout-green has the image .*:v9 in place of .*:v2: somebody else/);
  });

  it('a new one that somebody has paused is resumed, and that is told', async () => {
    const pause = () => patch('Deployment', 'checkout-green', { spec: { paused: true } });
    await target.deploy(write(1));
    await pause();
    const said = await target.setWeight(shift(2, 100, 0));
    await pause();
    const { foreignEdits } = await target.reassert(look(3, 100));

    expect(said).toContain(`Deployment ${namespace}/checkout-green was paused, and was resumed before that.`);
    expect(foreignEdits).toEqual([`Deployment ${namespace}/checkout-green was paused, and was resumed.`]);
    expect(await specOf('Deployment', 'checkout-green')).not.toHaveProperty('paused');
  });

  describe('a pod template that somebody has edited', () => {
    const setEnv = async (colour: string, value: string): Promise<void> => {
      const containers = [{ name: 'web', image: await imageOf(colour), env: [{ name: 'MODE', value }] }];
      await patch('Deployment', `checkout-${colour}`, { spec: { template: { spec: { containers } } } });
    };
    const envOf = async (colour: string): Promise<unknown> => {
      type Spec = { template: { spec: { containers: { env?: unknown }[] } } };
      return (await specOf<Spec>('Deployment', `checkout-${colour}`)).template.spec.containers[0]?.env;
    };
    const places = 'another pod template at spec/containers/0/env';

    it.each([
      ['made by the release', false],
      ['of the user’s own', true],
    ])('is told and put back, of a Deployment %s', async (_, own) => {
      if (own) await hand.create(deployment('green', V9), { signal });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      await setEnv('green', 'debug');
      const edited = await target.reassert(look(3, 100));
      const untouched = await target.reassert(look(4, 100));

      expect(edited.foreignEdits).toEqual([
        `Deployment ${namespace}/checkout-green had ${places}, and was given its own again.`,
      ]);
      expect(untouched.foreignEdits).toEqual([]);
      expect(await envOf('green')).toBeUndefined();
    });

    it('is put back before the switch where nobody looked', async () => {
      await target.deploy(write(1));
      await setEnv('green', 'debug');
      const said = await target.setWeight(shift(2, 100, 0));

      expect(said).toContain(`checkout-green had ${places}, and was given its own again before that.`);
      expect(await envOf('green')).toBeUndefined();
      expect(await state()).toEqual({ serves: 'green', blue: [V1, 3], green: [V2, 3] });
    });

    it('is put back before a new one rolls out again that somebody has paused', async () => {
      const kept: KubernetesObject[] = [];
      target = targetOf({}, keeping(cluster, kept));
      await target.deploy(write(1));
      await patch('Deployment', 'checkout-green', { spec: { paused: true } });
      await setEnv('green', 'debug');
      const said = await target.setWeight(shift(2, 100, 0));
      await patch('Deployment', 'checkout-green', { spec: { paused: true } });
      await setEnv('green', 'debug');
      const { foreignEdits } = await target.reassert(look(3, 100));

      const shown = `Deployment ${namespace}/checkout-green`;
      expect(said).toContain(`${shown} was paused, and was resumed before that.`);
      expect(foreignEdits).toEqual([
        `${shown} was paused, and was resumed.`,
        `${shown} had ${places}, and was given its own again.`,
      ]);
      expect(await specOf('Deployment', 'checkout-green')).not.toHaveProperty('paused');
      expect(kept.filter(rollsOutAnEdit)).toEqual([]);
    });

    it('is not waited for where traffic is taken from it', async () => {
      target = splitting();
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      await setEnv('green', 'debug');
      await controller.stop();
      const said = await target.setWeight({ ...shift(3, 5, 50), signal: AbortSignal.timeout(20_000) });

      expect(said).toContain(`checkout-green had ${places}, and was given its own again.`);
      expect(said).toContain('is 5 %, and it is in force');
      expect(await envOf('green')).toBeUndefined();
    });

    it('is not promoted', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 100, 0));
      await setEnv('green', 'debug');
      const failure = await failureOf(target.promote({ ...write(3), ...promotion }));

      expect(failure).toMatchObject({ kind: 'invalidTarget' });
      expect(failure.message).toContain(`checkout-green has ${places} in place of its own: somebody else`);
    });

    it.each([
      ['an edit is to end the release', { onForeignEdit: 'rollback' } as const, false],
      ['it cannot be put back', {}, true],
    ])('gets no traffic where %s', async (_, changes, undoes) => {
      await target.deploy(write(1));
      await setEnv('green', 'debug');
      target = targetOf(changes, undoes ? undoing(cluster, 'checkout-green') : cluster);
      const failure = await failureOf(target.setWeight(shift(2, 100, 0)));

      expect(failure.message).toContain(`checkout-green has ${places} in place of its own: somebody else`);
      expect(await selected()).toBe('blue');
    });
  });

  it.each([
    ['has switched', 100],
    ['has given a share', 30],
  ])('a direct roll back is of the newest release, which %s', async (_, weight) => {
    // The first one was ended from outside while it kept its old version: its note stays on what serves now.
    await hand.create(deployment('green', V1), { signal });
    await setImage('blue', V3);
    await patch('Service', 'checkout', { spec: { selector: GREEN } });
    const first = splitting();
    await first.deploy(write(1));
    await first.setWeight(shift(2, 100, 0));
    await first.promote({ ...write(3), ...promotion });
    const r2 = { release: 'r2', epoch: 2, version: V3 };
    const second = splitting();
    await second.deploy(write(1, r2));
    await second.setWeight(shift(2, weight, 0, r2));
    const { release, version } = await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

    expect({ release, version }).toEqual({ release: 'r2', version: V3 });
    expect(await state()).toEqual({ serves: 'blue', blue: [V2, 3], green: [V3, 0] });
  });

  it('a Service that was replaced is told, gets its note again, and the parts stay what they are', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await replaceService(BLUE);
    const first = await target.reassert(look(3, 100));
    const second = await target.reassert(look(4, 100));
    const after = await state();
    await target.setWeight(shift(5, 0, 100));
    await target.removeCanary(write(6));

    expect(first.foreignEdits).toContain(
      `Service ${namespace}/checkout had lost what the release notes on it, and was given it again.`,
    );
    expect(second.foreignEdits).toEqual([]);
    expect(after).toEqual({ serves: 'green', blue: [V1, 3], green: [V2, 3] });
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 3], green: [V2, 0] });
  });

  it('where all notes are lost nothing is moved on, and the way back is to what is not the new version', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await replaceService(GREEN);
    const annotations = { 'sluice.dev/target': null, 'sluice.dev/fence': null };
    await patch('Deployment', 'checkout-green', { metadata: { annotations } });
    const lost = await failureOf(target.reassert(look(3, 100)));
    await target.setWeight(shift(4, 0, 100));
    await target.removeCanary(write(5));

    expect(lost.message).toMatch(/Neither Service .*checkout nor Deployment .* has what the release noted on it/);
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 3], green: [V2, 0] });
  });

  it('the end of the time that the old one is kept takes no pods once somebody has gone back', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    const byHand = { release: 'by-hand', epoch: Date.now(), step: 1, attempt: 1 };
    const annotations = { 'sluice.dev/fence': JSON.stringify(byHand) };
    // As the page about rolling back by hand has it: in one patch.
    await patch('Service', 'checkout', { metadata: { annotations }, spec: { selector: BLUE } });
    const late = await failureOf(target.removeCanary(write(4)));

    expect(late.kind).toBe('fenceLost');
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 3], green: [V2, 3] });
  });

  it('a removal that was under way when the way back was taken comes too late, or is made good', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    const [reached, goOn] = [signalOnce(), signalOnce()];
    const slow = new Proxy(cluster, {
      get: (from, key: keyof Cluster) => {
        const value = from[key];
        if (typeof value !== 'function') return value;
        if (key !== 'patch') return value.bind(from);
        const delayed: Cluster['patch'] = async (ref, ...more) => {
          if (ref.name === 'checkout-blue') {
            reached.give();
            await goOn.given;
          }
          return from.patch(ref, ...more);
        };
        return delayed;
      },
    });
    const removal = failureOf(targetOf({}, slow).removeCanary(write(4)));
    await reached.given;
    await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });
    goOn.give();

    expect((await removal).kind).toBe('fenceLost');
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 3], green: [V2, 0] });
  });

  it('no side loses its pods while the one that serves is asked for none', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    await patch('Deployment', 'checkout-green', { spec: { replicas: 0 } });
    const failure = await failureOf(target.removeCanary(write(4)));

    expect(failure.message).toMatch(/checkout-green has all of the traffic, and is asked for no pods, so the pods of/);
    expect(await replicasOf('blue')).toBe(3);
  });

  it('users that somebody has sent to the new one before its first weight are sent back at its end', async () => {
    await target.deploy(write(1));
    await patch('Service', 'checkout', { spec: { selector: GREEN } });
    const said = await target.removeCanary(write(2));

    expect(said).toMatch(/checkout-green is without pods; checkout-blue has all of the traffic\. Somebody else has/);
    expect(said).toMatch(/It was pointed back to checkout-blue first\.$/);
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 3], green: [V2, 0] });
  });

  it('a clean-up ends the split of a release that was ended before it could', async () => {
    target = splitting();
    await target.deploy(write(1));
    await target.setWeight(shift(2, 40, 0));
    await patch('Service', 'checkout', { spec: { selector: GREEN } });
    await setImage('blue', V1, { replicas: 10 });
    const cleanUp = { release: 'r2', epoch: 2, version: V1 };
    await target.setWeight(shift(1, 0, 0, cleanUp));
    await target.removeCanary(write(2, cleanUp));
    const { weighted } = await specOf<{ weighted: { services: { name: string; weight: number }[] } }>(
      'TraefikService',
      'checkout-split',
    );

    expect(weighted.services.map(({ name, weight }) => [name, weight])).toEqual([['checkout', 1]]);
    // What serves keeps its size, whatever the other one had.
    expect(await state()).toEqual({ serves: 'green', blue: [V1, 0], green: [V2, 3] });
  });

  it('the first version of a pair is compared with nobody, and goes back to nobody', async () => {
    await patch('Deployment', 'checkout-blue', { spec: { replicas: 0 } });
    const same = await target.observe({ version: V1, signal });
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    const { foreignEdits } = await target.reassert(look(3, 100));
    const served = await state();
    await target.setWeight(shift(4, 0, 100));
    await target.removeCanary(write(5));

    expect(same).toMatchObject({ stableVersion: null, canaryVersion: null });
    expect(foreignEdits).toEqual([]);
    expect(served).toEqual({ serves: 'green', blue: [V1, 0], green: [V2, 1] });
    expect(await state()).toEqual({ serves: 'blue', blue: [V1, 0], green: [V2, 0] });
  });

  it('what a release that was ended from outside has left on it is named', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    const plan = targetPlan({ namespace, strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });
    const { leftovers } = await lookAtService(cluster, plan, signal);
    await target.promote({ ...write(3), ...promotion });
    await target.removeCanary(write(4));
    const after = await lookAtService(cluster, plan, signal);

    expect(leftovers).toEqual([
      `Service ${namespace}/checkout is still marked as that of release r1.`,
      `Deployment ${namespace}/checkout-green is still marked as that of release r1.`,
      `Deployment ${namespace}/checkout-blue is idle and still has 3 pods.`,
    ]);
    expect(after.leftovers).toEqual([]);
  });

  it('an old one that was given another image has its own again on the way back, and that is told', async () => {
    await target.deploy(write(1));
    await target.setWeight(shift(2, 100, 0));
    await target.promote({ ...write(3), ...promotion });
    await setImage('blue', V9);
    const back = await target.setWeight(shift(4, 0, 100));
    const restored = await target.restoreStable({ ...write(5), stableVersion: V1 });

    expect(back).toMatch(/finds Deployment checkout-blue.*had the image .*:v9, and was given .*:v1 again\.$/);
    expect(restored).toMatch(/still is as it was, with .*:v1/);
    expect(await state()).toMatchObject({ serves: 'blue', blue: [V1, 3] });
  });

  it('a preview that somebody has changed or deleted is put right, for the share is sent to it', async () => {
    target = splitting();
    await target.deploy(write(1));
    await target.setWeight(shift(2, 40, 0));
    await patch('Service', 'checkout-green', { spec: { selector: BLUE } });
    const changed = await target.reassert(look(3, 40));
    const put = await selected('checkout-green');
    await hand.delete(refOf('Service', 'checkout-green'), { signal });
    const gone = await target.reassert(look(4, 40));

    expect(changed.foreignEdits).toEqual([
      expect.stringMatching(/Service .*checkout-green selected .*blue.* again\.$/),
    ]);
    expect(put).toBe('green');
    expect(gone.foreignEdits).toEqual([`Service ${namespace}/checkout-green was gone, and was made again.`]);
    expect(await selected('checkout-green')).toBe('green');
  });

  it('a new one that somebody has deleted is made of what was tested, whatever the old one is by then', async () => {
    const templateOf = async () => (await specOf<{ template: unknown }>('Deployment', 'checkout-green')).template;
    await target.deploy(write(1));
    const tested = await templateOf();
    const containers = [{ name: 'web', image: V1, env: [{ name: 'OF_BLUE', value: '1' }] }];
    await patch('Deployment', 'checkout-blue', { spec: { template: { spec: { containers } } } });
    await hand.delete(refOf('Deployment', 'checkout-green'), { signal });
    const { foreignEdits, standing } = await target.reassert(look(2, 0));
    const looked = await templateOf();
    await hand.delete(refOf('Deployment', 'checkout-green'), { signal });
    const said = await target.setWeight(shift(3, 100, 0));
    const annotated = await cluster.get(refOf('Service', 'checkout-green'), { signal });
    await target.promote({ ...write(4), ...promotion });
    await target.removeCanary(write(5));
    const { metadata } = await cluster.get(refOf('Service', 'checkout-green'), { signal });

    const anew = `Deployment ${namespace}/checkout-green was gone, and was made again`;
    expect(foreignEdits).toEqual([`${anew}.`]);
    expect(standing).toEqual([
      `Deployment ${namespace}/checkout-blue has another pod template than when the release began: the way back is to other pods than before.`,
    ]);
    expect(said).toContain(`${anew} before that.`);
    expect([looked, await templateOf()]).toEqual([tested, tested]);
    expect(annotated.metadata.annotations).toHaveProperty(['sluice.dev/kept']);
    expect(Object.keys(metadata.annotations ?? {})).toEqual(['sluice.dev/fence']);
  });

  it('an admission controller that rewrites images is nobody’s edit', async () => {
    const admitting = mirroring(cluster);
    target = targetOf({}, admitting);
    await target.deploy(write(1));
    const said = await target.setWeight(shift(2, 100, 0));
    const { foreignEdits } = await target.reassert(look(3, 100));
    await target.promote({ ...write(4), ...promotion });

    expect(said).not.toMatch(/had the image/);
    expect(foreignEdits).toEqual([]);
    expect(await imageOf('green')).toBe('mirror.example/shop:v2');
  });
});

/** The cluster as one whose admission controller lets nobody change the containers of a Deployment. */
function undoing(cluster: Cluster, name: string): Cluster {
  return withOwn(cluster, {
    patch: (ref, body, ...more) => {
      if (ref.name !== name || body.type !== 'json') return cluster.patch(ref, body, ...more);
      const operations = body.operations.filter(({ path }) => !path.startsWith('/spec/template/spec/containers'));
      return cluster.patch(ref, { ...body, operations }, ...more);
    },
  });
}

/** A moment that one waits for and another gives. */
function signalOnce(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = (): void => undefined;
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}
