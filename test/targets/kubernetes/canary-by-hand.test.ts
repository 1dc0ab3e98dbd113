import { createCanaryTarget } from '../../../src/targets/kubernetes/canary/canary-target';
import type { Cluster } from '../../../src/targets/kubernetes/cluster';
import { rollBackDirectly } from '../../../src/targets/kubernetes/direct-roll-back';
import type { KubernetesObject } from '../../../src/targets/kubernetes/objects';
import type { Target, TargetWrite, WeightWrite } from '../../../src/targets/target';
import { describeWithApiServer } from './api-server';
import { DeploymentController } from './deployment-controller';
import { injecting, keeping, mirroring, refusing, rollsOutAnEdit } from './mirroring';
import { failureOf } from '../failure-of';
import { eventually } from '../instance';
import { targetPlan } from './target-plans';
import { namespaceObject, shopDeployment, shopIngress, shopService } from './shop-objects';

const V1 = 'registry.example/shop:v1';
const V2 = 'registry.example/shop:v2';
const NGINX = 'nginx.ingress.kubernetes.io';
const signal = AbortSignal.timeout(10 * 60_000);

function write(step: number): TargetWrite & { timeoutMs: number } {
  const fence = { release: 'r1', epoch: 1, step, attempt: 1 };
  return { version: V2, artifact: V2, fence, signal, timeoutMs: 20_000 };
}

type Match = WeightWrite['match'];

function shift(step: number, weight: number, previousWeight: number, match: Match = []) {
  return { ...write(step), weight, previousWeight, match };
}

function look(step: number, weight: number, match: Match = []) {
  return { ...write(step), weight, match };
}

describeWithApiServer(
  'what others do to a canary and its stable track meanwhile, against a real API server',
  (server) => {
    let cluster: Cluster;
    let hand: Cluster;
    let namespace: string;
    let controller: DeploymentController;
    let target: Target;
    let count = 0;

    beforeAll(() => {
      cluster = server().connect();
      hand = server().connect({ fieldManager: 'hand' });
    });

    beforeEach(async () => {
      namespace = `canary-by-hand-${(count += 1)}`;
      for (const object of shop()) await hand.create(object, { signal });
      controller = new DeploymentController(server().connect({ fieldManager: 'deployment-controller' }), namespace);
      target = targetOf(cluster);
    });

    afterEach(() => controller.stop());
    afterAll(() => {
      cluster.close();
      hand.close();
    });

    const targetOf = (by: Cluster, changes: Parameters<typeof targetPlan>[0] = {}): Target =>
      createCanaryTarget(targetPlan({ namespace, traffic: { kind: 'nginx', ingresses: ['checkout'] }, ...changes }), {
        cluster: by,
        resolve: (image) => Promise.resolve(image),
      });

    function shop(): KubernetesObject[] {
      const named = { namespace, name: 'checkout' };
      return [
        namespaceObject(namespace),
        shopDeployment(named, { image: V1, replicas: 2 }),
        shopService(named),
        shopIngress(named),
      ];
    }

    const deploymentRef = (name: string) => ({ apiVersion: 'apps/v1', kind: 'Deployment', namespace, name });
    const serviceRef = (name: string) => ({ apiVersion: 'v1', kind: 'Service', namespace, name });
    const ingressRef = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', name: 'checkout-canary' };
    const routing = async (): Promise<Readonly<Record<string, string>>> => {
      const { metadata } = await cluster.get({ ...ingressRef, namespace }, { signal });
      return metadata.annotations ?? {};
    };

    it('an admission controller that rewrites images is nobody’s edit, and hides no failure', async () => {
      target = targetOf(mirroring(cluster));
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const { foreignEdits, guardTripped } = await target.reassert(look(3, 50));
      const { spec } = (await cluster.get(deploymentRef('checkout-canary'), { signal })) as unknown as {
        spec: { template: { spec: { containers: { image: string }[] } } };
      };

      expect(spec.template.spec.containers[0]?.image).toBe('mirror.example/shop:v2');
      expect({ foreignEdits, guardTripped }).toEqual({ foreignEdits: [], guardTripped: null });
    });

    describe('the pod template of the canary', () => {
      const setEnv = async (value: string): Promise<void> => {
        const containers = [{ name: 'web', image: V2, env: [{ name: 'MODE', value }] }];
        const patch = { spec: { template: { spec: { containers } } } };
        await hand.patch(deploymentRef('checkout-canary'), { type: 'merge', patch }, { signal });
      };
      const annotate = async (annotations: Readonly<Record<string, string>>): Promise<void> => {
        const patch = { spec: { template: { metadata: { annotations } } } };
        await hand.patch(deploymentRef('checkout-canary'), { type: 'merge', patch }, { signal });
      };
      const templateOf = async (): Promise<{
        readonly metadata: { readonly annotations?: Readonly<Record<string, string>> };
        readonly spec: { readonly containers: readonly { readonly env?: unknown; readonly image: string }[] };
      }> => {
        const { spec } = await cluster.get(deploymentRef('checkout-canary'), { signal });
        return (spec as { template: Awaited<ReturnType<typeof templateOf>> }).template;
      };
      const ofStable = (): string =>
        `Deployment ${namespace}/checkout has another pod template than when the release began: the canary is compared with, and would be taken back to, other pods than before, and a promotion leaves stable this template with the new image.`;
      const told = (again: string): string =>
        `Deployment ${namespace}/checkout-canary had another pod template at spec/containers/0/env, and was given its own again${again}.`;

      it('is told and put back where somebody has edited it, also where stable has another one since', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        const containers = [{ name: 'web', image: V1, env: [{ name: 'OF_STABLE', value: '1' }] }];
        const patch = { spec: { template: { spec: { containers } } } };
        await hand.patch(deploymentRef('checkout'), { type: 'merge', patch }, { signal });
        await setEnv('debug');
        const edited = await target.reassert(look(3, 50));
        const { spec } = await templateOf();
        const untouched = await target.reassert(look(4, 50));

        expect([edited.foreignEdits, edited.standing]).toEqual([[told('')], [ofStable()]]);
        expect(spec.containers).toEqual([expect.not.objectContaining({ env: expect.anything() as unknown })]);
        expect([untouched.foreignEdits, untouched.standing]).toEqual([[], [ofStable()]]);
      });

      describe('of a Deployment that somebody has deleted', () => {
        const syncStable = async (): Promise<void> => {
          const containers = [{ name: 'web', image: V1, env: [{ name: 'OF_STABLE', value: '1' }] }];
          const patch = { spec: { template: { spec: { containers } } } };
          await hand.patch(deploymentRef('checkout'), { type: 'merge', patch }, { signal });
        };
        const remove = () => hand.delete(deploymentRef('checkout-canary'), { signal });
        const anew = `Deployment NS/checkout-canary was gone, and was made again`;
        const saying = (sentence: string): string => sentence.replaceAll('NS', namespace);

        it('is what was tested, also where stable has another one since', async () => {
          await target.deploy(write(1));
          await target.setWeight(shift(2, 50, 0));
          const tested = await templateOf();
          await syncStable();
          await remove();
          const gone = await target.reassert(look(3, 50));
          const looked = await templateOf();
          const later = await target.reassert(look(4, 50));
          await remove();
          const said = await target.setWeight(shift(5, 100, 50));
          await setEnv('debug');
          const edited = await target.reassert(look(6, 100));

          expect(gone.foreignEdits).toEqual([saying(`${anew}.`)]);
          expect([later.foreignEdits, later.standing]).toEqual([[], [ofStable()]]);
          expect([looked, await templateOf()]).toEqual([tested, tested]);
          expect(said).toContain(saying(`${anew} before that.`));
          expect([edited.foreignEdits, edited.standing]).toEqual([[told('')], [ofStable()]]);
        });

        it('is that of stable where its Service is gone, too, and that is told', async () => {
          await target.deploy(write(1));
          await target.setWeight(shift(2, 50, 0));
          await syncStable();
          await remove();
          await hand.delete(serviceRef('checkout-canary'), { signal });
          const { foreignEdits } = await target.reassert(look(3, 50));
          const later = await target.reassert(look(4, 50));

          expect(foreignEdits).toContain(
            saying(`${anew} like Deployment NS/checkout is now, because what was tested is noted nowhere else.`),
          );
          expect((await templateOf()).spec.containers[0]?.env).toBeDefined();
          expect(later.foreignEdits).toEqual([]);
        });

        it('is what it was in one of the user’s own, with labels by which it is found', async () => {
          const labels = { app: 'own-canary' };
          const own = shopDeployment({ namespace, name: 'checkout-canary' }, { image: V1, replicas: 0, labels });
          await hand.create(own, { signal });
          await annotate({ own: 'kept' });
          await target.deploy(write(1));
          await target.setWeight(shift(2, 50, 0));
          await remove();
          await target.reassert(look(3, 50));
          const { metadata, spec } = await templateOf();

          expect(metadata.annotations).toEqual({ own: 'kept' });
          expect(spec.containers).toEqual([expect.objectContaining({ image: V2 })]);
        });
      });

      it('is put back before a canary rolls out again that somebody has paused', async () => {
        const kept: KubernetesObject[] = [];
        target = targetOf(keeping(cluster, kept));
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        const pause = () =>
          hand.patch(
            deploymentRef('checkout-canary'),
            { type: 'merge', patch: { spec: { paused: true } } },
            { signal },
          );
        await pause();
        await setEnv('debug');
        const edited = await target.reassert(look(3, 50));
        const looked = await cluster.get(deploymentRef('checkout-canary'), { signal });
        await pause();
        await setEnv('debug');
        const said = await target.setWeight(shift(4, 100, 50));

        const paused = `Deployment ${namespace}/checkout-canary was paused, and was resumed`;
        expect(edited.foreignEdits).toEqual([`${paused}.`, told('')]);
        expect(looked['spec']).not.toHaveProperty('paused');
        expect(said).toContain(`${paused} before that. ${told(' before that')}`);
        expect(kept.filter(rollsOutAnEdit)).toEqual([]);
      });

      it('may be restarted', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        const restart = { 'kubectl.kubernetes.io/restartedAt': '2026-01-01T00:00:00Z' };
        await annotate(restart);
        const { foreignEdits } = await target.reassert(look(3, 50));

        expect(foreignEdits).toEqual([]);
        expect((await templateOf()).metadata.annotations).toEqual(restart);
      });

      it('is what was tested before any more traffic comes to it', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        await setEnv('debug');
        const said = await target.setWeight(shift(3, 100, 50));

        expect(said).toContain(told(' before that'));
        expect((await templateOf()).spec.containers[0]?.env).toBeUndefined();
      });

      it('is not waited for where traffic is taken from it', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        await setEnv('debug');
        await controller.stop();
        const said = await target.setWeight({ ...shift(3, 5, 50), signal: AbortSignal.timeout(20_000) });

        expect(said).toContain(told(''));
        expect((await templateOf()).spec.containers[0]?.env).toBeUndefined();
        expect((await routing())[`${NGINX}/canary-weight`]).toBe('5');
      });

      it('keeps no traffic where it is that is taken from it, whatever refuses it', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        await setEnv('debug');
        target = targetOf(refusing(cluster, 'checkout-canary'));
        const said = await target.setWeight(shift(3, 5, 50));

        expect(said).toMatch(/at spec\/containers\/0\/env, and could not be given its own yet: denied by policy/);
        expect((await routing())[`${NGINX}/canary-weight`]).toBe('5');
      });

      it('is waited for where a header is to lead to it, at a lower weight', async () => {
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        await setEnv('debug');
        const said = await target.setWeight(shift(3, 5, 50, [{ kind: 'header', name: 'x-canary', value: 'true' }]));

        expect(said).toContain(told(' before that'));
      });

      it('gets no more traffic where an edit of it is to end the release', async () => {
        target = targetOf(cluster, { onForeignEdit: 'rollback' });
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        await setEnv('debug');
        const failure = await failureOf(target.setWeight(shift(3, 100, 50)));

        expect(failure.kind).toBe('guardTripped');
        expect(failure.message).toMatch(
          /checkout-canary has another pod template at spec\/containers\/0\/env in place of/,
        );
        expect((await routing())[`${NGINX}/canary-weight`]).toBe('50');
      });

      it('may be another one than the release asked for where admission makes it so', async () => {
        target = targetOf(injecting(cluster));
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        const admitted = await target.reassert(look(3, 50));
        await setEnv('debug');
        await target.reassert(look(4, 50));

        expect(admitted.foreignEdits).toEqual([]);
        expect((await templateOf()).metadata.annotations).toEqual({ 'mesh.example/injected': 'true' });
        expect((await templateOf()).spec.containers[0]?.env).toBeUndefined();
      });

      it('is what admission has made of it, also where a worker ended before it could note that', async () => {
        target = targetOf(injecting(cluster));
        await target.deploy(write(1));
        await target.setWeight(shift(2, 50, 0));
        // With the Service goes what the release has kept there.
        await hand.delete(serviceRef('checkout-canary'), { signal });
        await hand.delete(deploymentRef('checkout-canary'), { signal });
        await failureOf(targetOf(refusing(injecting(cluster), 'checkout-canary')).reassert(look(3, 50)));
        const admitted = await target.reassert(look(4, 50));
        await target.setWeight(shift(5, 100, 50));
        await setEnv('debug');
        const edited = await target.reassert(look(6, 100));

        expect(admitted.foreignEdits).toEqual([]);
        expect(edited.foreignEdits).toEqual([told('')]);
        expect((await templateOf()).metadata.annotations).toEqual({ 'mesh.example/injected': 'true' });
      });

      it('of a Deployment of the user’s own is put back to what it was when the release took it', async () => {
        const labels = { app: 'checkout-canary' };
        const own = shopDeployment({ namespace, name: 'checkout-canary' }, { image: V1, replicas: 0, labels });
        await hand.create(own, { signal });
        await annotate({ own: 'kept' });
        await target.deploy(write(1));
        await setEnv('debug');
        const { foreignEdits } = await target.reassert(look(2, 0));

        expect(foreignEdits).toEqual([told('')]);
        expect((await templateOf()).metadata.annotations).toEqual({ own: 'kept' });
        expect((await templateOf()).spec.containers).toEqual([expect.objectContaining({ image: V2 })]);
        expect((await templateOf()).spec.containers[0]?.env).toBeUndefined();
      });
    });

    it('a restart of stable is no edit of it, and another template of it is told, and left to whoever gave it that', async () => {
      const patchStable = (template: Readonly<Record<string, unknown>>) =>
        hand.patch(deploymentRef('checkout'), { type: 'merge', patch: { spec: { template } } }, { signal });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      await patchStable({ metadata: { annotations: { 'kubectl.kubernetes.io/restartedAt': 'now' } } });
      const restarted = await target.reassert(look(3, 50));
      await patchStable({ metadata: { annotations: { 'checksum/config': 'f00' } } });
      const edited = await target.reassert(look(4, 50));
      const { spec } = await cluster.get(deploymentRef('checkout'), { signal });

      expect([restarted.foreignEdits, restarted.standing, edited.foreignEdits]).toEqual([[], [], []]);
      expect(edited.standing).toEqual([
        expect.stringMatching(/checkout has another pod template than when the release began/),
      ]);
      expect(spec).toMatchObject({ template: { metadata: { annotations: { 'checksum/config': 'f00' } } } });
    });

    it('a canary that somebody has paused is told and resumed, so that its pods are looked at', async () => {
      const ref = deploymentRef('checkout-canary');
      const pause = () => hand.patch(ref, { type: 'merge', patch: { spec: { paused: true } } }, { signal });
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      controller.hold.add('checkout-canary');
      await pause();
      await eventually(async () => {
        const { status } = await cluster.get(ref, { signal });
        return (status as { availableReplicas?: number }).availableReplicas !== 1;
      }, 'the canary has lost its pod');
      const { foreignEdits } = await target.reassert(look(3, 50));
      const { spec } = await cluster.get(ref, { signal });
      controller.hold.clear();
      await pause();
      const said = await target.setWeight(shift(4, 100, 50));

      expect(foreignEdits).toEqual([`Deployment ${namespace}/checkout-canary was paused, and was resumed.`]);
      expect(spec).not.toHaveProperty('paused');
      expect(said).toContain(`Deployment ${namespace}/checkout-canary was paused, and was resumed before that.`);
    });

    it('the canary’s Service is put right, and made anew, for its share is sent there', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const selector = { app: 'checkout', 'sluice.dev/track': null };
      await hand.patch(serviceRef('checkout-canary'), { type: 'merge', patch: { spec: { selector } } }, { signal });
      const changed = await target.reassert(look(3, 50));
      await hand.delete(serviceRef('checkout-canary'), { signal });
      const gone = await target.reassert(look(4, 50));
      const untouched = await target.reassert(look(5, 50));

      expect(changed.foreignEdits).toEqual([
        expect.stringMatching(/Service .*checkout-canary selected app=checkout, and was given .* again\.$/),
      ]);
      expect(gone.foreignEdits).toEqual([`Service ${namespace}/checkout-canary was gone, and was made again.`]);
      expect(untouched.foreignEdits).toEqual([]);
    });

    it('a header that somebody has taken away with all notes is routed by again', async () => {
      const match: Match = [{ kind: 'header', name: 'x-canary', value: 'true' }];
      await target.deploy(write(1));
      await target.setWeight(shift(2, 0, 0, match));
      const annotations = {
        [`${NGINX}/canary-by-header`]: null,
        [`${NGINX}/canary-by-header-value`]: null,
        'sluice.dev/fence': null,
        'sluice.dev/traffic': null,
      };
      await hand.patch(
        { ...ingressRef, namespace },
        { type: 'merge', patch: { metadata: { annotations } } },
        { signal },
      );
      const { foreignEdits } = await target.reassert(look(3, 0, match));

      expect(foreignEdits).toEqual(['The traffic lacked a header or cookie that was asked for, and has it again.']);
      expect(await routing()).toMatchObject({ [`${NGINX}/canary-by-header`]: 'x-canary' });
    });

    it('the way back is open when a sidecar is added to stable', async () => {
      await target.deploy(write(1));
      await target.setWeight(shift(2, 50, 0));
      const containers = [
        { name: 'web', image: V1 },
        { name: 'mesh', image: 'registry.example/mesh:v1' },
      ];
      const patch = { spec: { template: { spec: { containers } } } };
      await hand.patch(deploymentRef('checkout'), { type: 'merge', patch }, { signal });
      await target.reassert(look(3, 50));
      await target.setWeight(shift(4, 0, 50));
      const zero = (await routing())[`${NGINX}/canary-weight`];
      const { steps } = await rollBackDirectly(cluster, { namespace, name: 'checkout' }, { signal });

      expect(zero).toBe('0');
      expect(steps.at(-1)?.sentence).toMatch(/checkout-canary is gone/);
      expect(await cluster.find(deploymentRef('checkout-canary'), { signal })).toBeNull();
    });
  },
);
