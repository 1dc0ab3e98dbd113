import type { Permission } from '../../../src/targets/kubernetes/cluster';
import { checkPermissions, describePermission, requiredPermissions } from '../../../src/targets/kubernetes/permissions';
import { roleObjects } from '../../../src/targets/kubernetes/role';
import { TRAFFIC, targetPlan } from './target-plans';

const signal = AbortSignal.timeout(60_000);

function sentences(changes: Parameters<typeof targetPlan>[0] = {}): string[] {
  return requiredPermissions(targetPlan(changes)).map(describePermission);
}

describe('the permissions a release needs', () => {
  it('are these for a canary behind an HTTPRoute', () => {
    expect(sentences()).toEqual([
      'get deployments.apps checkout in namespace shop',
      'patch deployments.apps checkout in namespace shop',
      'get deployments.apps checkout-stable in namespace shop',
      'patch deployments.apps checkout-stable in namespace shop',
      'get deployments.apps checkout-canary in namespace shop',
      'patch deployments.apps checkout-canary in namespace shop',
      'delete deployments.apps checkout-canary in namespace shop',
      'create deployments.apps in namespace shop',
      'list replicasets.apps in namespace shop',
      'list pods in namespace shop',
      'list events in namespace shop',
      'get services checkout in namespace shop',
      'get services checkout-canary in namespace shop',
      'patch services checkout-canary in namespace shop',
      'delete services checkout-canary in namespace shop',
      'create services in namespace shop',
      'get services/proxy checkout in namespace shop',
      'get services/proxy checkout:http in namespace shop',
      'get services/proxy checkout-canary in namespace shop',
      'get services/proxy checkout-canary:http in namespace shop',
      'get httproutes.gateway.networking.k8s.io checkout in namespace shop',
      'patch httproutes.gateway.networking.k8s.io checkout in namespace shop',
    ]);
  });

  it.each(['canary', 'blueGreen'] as const)('name no object twice and only this namespace (%s)', (strategy) => {
    for (const traffic of TRAFFIC) {
      for (const config of ['keep', 'snapshot'] as const) {
        const needed = requiredPermissions(targetPlan({ strategy, traffic, config }));
        const texts = needed.map(describePermission);
        expect(new Set(texts).size).toBe(texts.length);
        expect(new Set(needed.map(({ namespace }) => namespace))).toEqual(new Set(['shop']));
      }
    }
  });

  it('never delete what the user keeps', () => {
    for (const traffic of TRAFFIC) {
      const deleted = sentences({ traffic }).filter((text) => text.startsWith('delete'));
      for (const text of deleted)
        expect(text).toMatch(/^delete (\S+ checkout(-admin)?-canary|services checkout-stable) in namespace shop$/u);
    }
  });

  it('hold Secrets and ConfigMaps only where snapshots are asked for', () => {
    const ofConfiguration = (texts: readonly string[]): string[] =>
      texts.filter((text) => /secrets|configmaps/u.test(text));

    expect(ofConfiguration(sentences())).toEqual([]);
    expect(ofConfiguration(sentences({ config: 'snapshot' }))).toContain('get secrets in namespace shop');
  });

  it('ask the smoke test by the port that is named', () => {
    expect(sentences({ port: 8443 }).filter((text) => text.includes('proxy'))).toEqual([
      'get services/proxy checkout:8443 in namespace shop',
      'get services/proxy checkout-canary:8443 in namespace shop',
    ]);
  });

  it('switch the Service of a blue-green release, and keep both of its Deployments and their previews', () => {
    const texts = sentences({ strategy: 'blueGreen', traffic: { kind: 'serviceSelector' } });

    expect(texts).toContain('patch services checkout in namespace shop');
    expect(texts).toContain('patch deployments.apps checkout-green in namespace shop');
    expect(texts).toContain('get services/proxy checkout-blue in namespace shop');
    expect(texts.filter((text) => text.startsWith('delete '))).toEqual([]);
    expect(texts.filter((text) => text.includes('canary'))).toEqual([]);
  });
});

describe('checking permissions', () => {
  it('names what is missing, in order, and asks a few at a time', async () => {
    let underWay = 0;
    let most = 0;
    const cluster = {
      mayI: async ({ verb, name }: Permission) => {
        most = Math.max(most, ++underWay);
        await new Promise(setImmediate);
        underWay -= 1;
        return { allowed: !(verb === 'patch' && name === 'checkout'), reason: '' };
      },
    };

    const missing = await checkPermissions(cluster, { plan: targetPlan(), signal });

    expect(missing).toEqual([
      'patch deployments.apps checkout in namespace shop',
      'patch httproutes.gateway.networking.k8s.io checkout in namespace shop',
    ]);
    expect(most).toBe(8);
  });

  it('fails when the server cannot be asked: not knowing is no permission', async () => {
    const cluster = { mayI: () => Promise.reject(new Error('away')) };

    await expect(checkPermissions(cluster, { plan: targetPlan(), signal })).rejects.toThrow('away');
  });
});

describe('the Role', () => {
  it('has one rule for each kind and set of verbs, and no wildcard', () => {
    const permissions = requiredPermissions(targetPlan());

    const [role, binding] = roleObjects(permissions, {
      name: 'sluice-checkout',
      namespace: 'shop',
      account: { name: 'worker', namespace: 'sluice' },
    });

    expect(role).toEqual({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'sluice-checkout', namespace: 'shop' },
      rules: [
        {
          apiGroups: ['apps'],
          resources: ['deployments'],
          resourceNames: ['checkout', 'checkout-stable'],
          verbs: ['get', 'patch'],
        },
        {
          apiGroups: ['apps'],
          resources: ['deployments'],
          resourceNames: ['checkout-canary'],
          verbs: ['get', 'patch', 'delete'],
        },
        { apiGroups: ['apps'], resources: ['deployments'], verbs: ['create'] },
        { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['list'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
        { apiGroups: [''], resources: ['events'], verbs: ['list'] },
        { apiGroups: [''], resources: ['services'], resourceNames: ['checkout'], verbs: ['get'] },
        {
          apiGroups: [''],
          resources: ['services'],
          resourceNames: ['checkout-canary'],
          verbs: ['get', 'patch', 'delete'],
        },
        { apiGroups: [''], resources: ['services'], verbs: ['create'] },
        {
          apiGroups: [''],
          resources: ['services/proxy'],
          resourceNames: ['checkout', 'checkout:http', 'checkout-canary', 'checkout-canary:http'],
          verbs: ['get'],
        },
        {
          apiGroups: ['gateway.networking.k8s.io'],
          resources: ['httproutes'],
          resourceNames: ['checkout'],
          verbs: ['get', 'patch'],
        },
      ],
    });
    expect(binding).toMatchObject({
      roleRef: { kind: 'Role', name: 'sluice-checkout' },
      subjects: [{ kind: 'ServiceAccount', name: 'worker', namespace: 'sluice' }],
    });
    for (const traffic of TRAFFIC) {
      const [each] = roleObjects(requiredPermissions(targetPlan({ traffic, config: 'snapshot' })), {
        name: 'x',
        namespace: 'shop',
        account: { name: 'x', namespace: 'x' },
      });
      expect(JSON.stringify(each)).not.toContain('*');
    }
  });
});
