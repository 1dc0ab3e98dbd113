import { configNamedBy, copiesIn, withCopies, withOriginals } from '../../../src/targets/kubernetes/pod-config';

/** Every place a container can be given a ConfigMap or Secret by, and two that are the node's. */
const TEMPLATE = {
  metadata: { labels: { app: 'checkout' } },
  spec: {
    imagePullSecrets: [{ name: 'registry' }],
    initContainers: [{ name: 'init', envFrom: [{ prefix: 'A_', configMapRef: { name: 'init-settings' } }] }],
    containers: [
      {
        name: 'web',
        envFrom: [{ secretRef: { name: 'tokens', optional: true } }],
        env: [
          { name: 'PLAIN', value: 'x' },
          { name: 'LEVEL', valueFrom: { configMapKeyRef: { name: 'settings', key: 'level', optional: true } } },
          { name: 'KEY', valueFrom: { secretKeyRef: { name: 'keys', key: 'key' } } },
          { name: 'POD', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } },
        ],
      },
    ],
    volumes: [
      { name: 'tmp', emptyDir: {} },
      { name: 'settings', configMap: { name: 'settings', items: [{ key: 'a', path: 'a' }] } },
      { name: 'certificate', secret: { secretName: 'certificate', defaultMode: 256 } },
      {
        name: 'both',
        projected: {
          sources: [
            { configMap: { name: 'projected' } },
            { secret: { name: 'projected' } },
            { serviceAccountToken: { path: 'token' } },
          ],
        },
      },
      { name: 'disk', csi: { driver: 'x', nodePublishSecretRef: { name: 'storage' } } },
    ],
  },
};

const NAMED = [
  ['ConfigMap', 'init-settings', false],
  ['Secret', 'tokens', true],
  // One mention that needs it is enough.
  ['ConfigMap', 'settings', false],
  ['Secret', 'keys', false],
  ['Secret', 'certificate', false],
  ['ConfigMap', 'projected', false],
  ['Secret', 'projected', false],
];

describe('what a pod template names', () => {
  it('is found in every place, once, and neither pull secrets nor those of storage', () => {
    expect(configNamedBy([TEMPLATE]).map(({ kind, name, optional }) => [kind, name, optional])).toEqual(NAMED);
  });

  it('is replaced by copies, and comes back to the letter', () => {
    const copies = Object.fromEntries(NAMED.map(([kind, name]) => [`${kind}/${name}`, `${name}-1`]));
    const copied = withCopies(TEMPLATE, copies);

    expect(configNamedBy([copied]).map(({ name }) => name)).toEqual(NAMED.map(([, name]) => `${name}-1`));
    expect(JSON.stringify(copied)).toContain('"imagePullSecrets":[{"name":"registry"}]');
    expect(JSON.stringify(copied)).toContain('"nodePublishSecretRef":{"name":"storage"}');
    expect(copiesIn(copied)).toEqual(copies);
    expect(withOriginals(copied)).toEqual(TEMPLATE);
  });

  it('gets newer copies in place of older ones, and leaves alone what there is no copy of', () => {
    const older = withCopies(TEMPLATE, { 'ConfigMap/settings': 'settings-1', 'Secret/keys': 'keys-1' });
    const newer = withCopies(older, { 'ConfigMap/settings': 'settings-2' });

    expect(copiesIn(newer)).toEqual({ 'ConfigMap/settings': 'settings-2' });
    expect(configNamedBy([newer]).map(({ name }) => name)).toContain('keys');
    expect(withOriginals(newer)).toEqual(TEMPLATE);
  });

  it('does not take a ConfigMap for the Secret of the same name', () => {
    const copied = withCopies(TEMPLATE, { 'ConfigMap/projected': 'projected-1' });
    const names = configNamedBy([copied]).map(({ kind, name }) => `${kind}/${name}`);

    expect(names).toContain('ConfigMap/projected-1');
    expect(names).toContain('Secret/projected');
  });

  it('counts as the user’s own where somebody named something else after the release', () => {
    const copied = withCopies(TEMPLATE, { 'ConfigMap/init-settings': 'init-settings-1' });
    const edited = {
      ...copied,
      spec: { containers: [{ name: 'web', envFrom: [{ configMapRef: { name: 'other' } }] }] },
    };

    expect(copiesIn(edited)).toEqual({});
    expect(configNamedBy([withOriginals(edited)])).toEqual([{ kind: 'ConfigMap', name: 'other', optional: false }]);
  });
});
