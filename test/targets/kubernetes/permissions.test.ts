import type { AccessRule, Permission } from '../../../src/targets/kubernetes/cluster';
import { ClusterFailure } from '../../../src/targets/kubernetes/cluster-failure';
import {
  checkPermissions,
  describePermission,
  requiredPermissions,
  rolePermissions,
} from '../../../src/targets/kubernetes/permissions';
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

  it('to list and to watch an object are wanted for each that is read, and required for none', () => {
    for (const strategy of ['canary', 'blueGreen'] as const) {
      for (const traffic of TRAFFIC) {
        const plan = targetPlan({ strategy, traffic });
        const all = rolePermissions(plan).map(describePermission);
        const read = all.filter((text) => text.startsWith('get ') && !text.includes('services/proxy'));
        const wanted = read.flatMap((text) => [text.replace('get', 'list'), text.replace('get', 'watch')]);
        const required = new Set(requiredPermissions(plan).map(describePermission));
        expect(all.filter((text) => !required.has(text)).sort()).toEqual(wanted.sort());
      }
    }
  });

  it.each(['canary', 'blueGreen'] as const)('name no object twice and only this namespace (%s)', (strategy) => {
    for (const traffic of TRAFFIC) {
      for (const config of ['keep', 'snapshot'] as const) {
        const needed = rolePermissions(targetPlan({ strategy, traffic, config }));
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
      myRules: () => Promise.resolve({ complete: true, rules: [] }),
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
    const rules = { complete: true, rules: [] };
    const cluster = { mayI: () => Promise.reject(new Error('away')), myRules: () => Promise.resolve(rules) };
    const mute = { ...cluster, myRules: () => Promise.reject(new Error('away, too')) };

    await expect(checkPermissions(cluster, { plan: targetPlan(), signal })).rejects.toThrow('away');
    await expect(checkPermissions(mute, { plan: targetPlan(), signal })).rejects.toThrow('away, too');
  });

  describe('by one question for all', () => {
    const granting = (rules: readonly AccessRule[], complete = true) => {
      const asked: string[] = [];
      return {
        asked,
        myRules: () => Promise.resolve({ complete, rules }),
        mayI: (permission: Permission) => {
          asked.push(describePermission(permission));
          return Promise.resolve({ allowed: false, reason: '' });
        },
      };
    };
    const everything: AccessRule = { verbs: ['*'], groups: ['*'], resources: ['*'], names: [] };
    /** What `sluice rbac` prints, as the server lists it. */
    const ofRole = (): AccessRule[] =>
      rolePermissions(targetPlan()).map(({ verb, group, resource, subresource, name }) => ({
        verbs: [verb],
        groups: [group],
        resources: [subresource === undefined ? resource : `${resource}/${subresource}`],
        names: name === undefined ? [] : [name],
      }));

    it.each([
      ['an administrator', [everything]],
      ['exactly the Role', ofRole()],
    ])('nothing more is asked of %s', async (_, rules) => {
      const cluster = granting(rules);

      expect(await checkPermissions(cluster, { plan: targetPlan(), signal })).toEqual([]);
      expect(cluster.asked).toEqual([]);
    });

    it('what its answer does not grant is asked by itself', async () => {
      const cluster = granting(
        ofRole().filter(({ verbs, names }) => !(verbs[0] === 'patch' && names[0] === 'checkout')),
      );

      expect(await checkPermissions(cluster, { plan: targetPlan(), signal })).toEqual([
        'patch deployments.apps checkout in namespace shop',
        'patch httproutes.gateway.networking.k8s.io checkout in namespace shop',
      ]);
      expect(cluster.asked).toHaveLength(2);
    });

    it('a right to some names is none to create, nor one to a subresource', async () => {
      const named = granting([{ ...everything, names: ['checkout'] }]);
      const whole = granting([
        { ...everything, resources: ['deployments', 'services', 'pods', 'events', 'replicasets', 'httproutes'] },
      ]);

      expect(await checkPermissions(named, { plan: targetPlan(), signal })).toContain(
        'create deployments.apps in namespace shop',
      );
      expect(await checkPermissions(whole, { plan: targetPlan(), signal })).toEqual(
        whole.asked.filter((text) => text.includes('services/proxy')),
      );
      expect(whole.asked.length).toBeGreaterThan(0);
    });

    it.each([
      ['is not complete', granting([everything], false)],
      ['may not be asked', { ...granting([]), myRules: () => Promise.reject(new ClusterFailure('forbidden', 'no')) }],
    ])('nothing follows from an answer that %s', async (_, cluster) => {
      const missing = await checkPermissions(cluster, { plan: targetPlan(), signal });

      expect(missing).toHaveLength(requiredPermissions(targetPlan()).length);
    });
  });
});

describe('the Role', () => {
  it('has one rule for each kind and set of verbs, and no wildcard', () => {
    const permissions = rolePermissions(targetPlan());

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
          verbs: ['get', 'list', 'watch', 'patch'],
        },
        {
          apiGroups: ['apps'],
          resources: ['deployments'],
          resourceNames: ['checkout-canary'],
          verbs: ['get', 'list', 'watch', 'patch', 'delete'],
        },
        { apiGroups: ['apps'], resources: ['deployments'], verbs: ['create'] },
        { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['list'] },
        { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
        { apiGroups: [''], resources: ['events'], verbs: ['list'] },
        { apiGroups: [''], resources: ['services'], resourceNames: ['checkout'], verbs: ['get', 'list', 'watch'] },
        {
          apiGroups: [''],
          resources: ['services'],
          resourceNames: ['checkout-canary'],
          verbs: ['get', 'list', 'watch', 'patch', 'delete'],
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
          verbs: ['get', 'list', 'watch', 'patch'],
        },
      ],
    });
    expect(binding).toMatchObject({
      roleRef: { kind: 'Role', name: 'sluice-checkout' },
      subjects: [{ kind: 'ServiceAccount', name: 'worker', namespace: 'sluice' }],
    });
    for (const traffic of TRAFFIC) {
      const [each] = roleObjects(rolePermissions(targetPlan({ traffic, config: 'snapshot' })), {
        name: 'x',
        namespace: 'shop',
        account: { name: 'x', namespace: 'x' },
      });
      expect(JSON.stringify(each)).not.toContain('*');
    }
  });
});
