import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import type { DeploymentView } from '../../../src/targets/kubernetes/deployment-view';
import { editOfPods, givenAgain, givenPods, noting } from '../../../src/targets/kubernetes/given-pods';
import type { PodTemplate } from '../../../src/targets/kubernetes/pod-config';
import type { TargetWrite } from '../../../src/targets/target';
import { withFence } from '../../../src/traffic/fence';
import { deploymentObject } from './deployment-objects';
import { targetPlan } from './target-plans';

const IMAGE = 'example.test/web:2';
const RESTARTED = 'kubectl.kubernetes.io/restartedAt';
const fence = { release: 'r1', epoch: 1, step: 1, attempt: 1 };
const write: TargetWrite = { version: IMAGE, artifact: IMAGE, fence, signal: AbortSignal.timeout(60_000) };
const note = { version: IMAGE, plan: targetPlan() };

interface Made {
  readonly env?: readonly unknown[];
  readonly metadata?: Readonly<Record<string, unknown>>;
  readonly image?: string;
}

function template({ env, metadata = {}, image = IMAGE }: Made = {}): PodTemplate {
  const container = { name: 'web', image, ...(env === undefined ? {} : { env }) };
  return { metadata: { labels: { app: 'checkout' }, ...metadata }, spec: { containers: [container] } };
}

function view(changes: Made = {}): DeploymentView {
  return readDeployment(deploymentObject({ template: template(changes) }));
}

/** What the release gave a Deployment whose note it wrote together with this template. */
function given(changes: Made = {}, by: TargetWrite = write) {
  const object = withFence(deploymentObject({ template: template(changes) }), fence);
  return givenPods(noting(object, note, template(changes)), 'web', by);
}

describe('what a release gave a Deployment', () => {
  it.each<[string, Made, string | null]>([
    ['nothing', {}, null],
    ['another image', { image: 'example.test/web:9' }, 'the image example.test/web:9'],
    ['an environment variable', { env: [] }, 'another pod template at spec/containers/0/env'],
    ['a label', { metadata: { labels: { app: 'other' } } }, 'another pod template at metadata/labels/app'],
    ['a restart', { metadata: { annotations: { [RESTARTED]: '2026-01-01T00:00:00Z' } } }, null],
    ['a restart of OpenShift’s', { metadata: { annotations: { 'openshift.openshift.io/restartedAt': 'now' } } }, null],
    ['a restart of somebody’s own', { metadata: { annotations: { 'ops.example/restarted-at': 'now' } } }, null],
    ['a restart of Rancher’s', { metadata: { annotations: { 'cattle.io/timestamp': 'now' } } }, null],
    ['a restart of Keel’s', { metadata: { annotations: { 'keel.sh/update-time': 'now' } } }, null],
    [
      'a restart of Reloader’s',
      { metadata: { annotations: { 'reloader.stakater.com/last-reloaded-from': '{}' } } },
      null,
    ],
    ['a restart of Reloader’s by a variable', { env: [{ name: 'STAKATER_WEB_CONFIGMAP', value: 'f00' }] }, null],
    [
      'a variable beside that of a restart',
      { env: [{ name: 'MODE' }, { name: 'STAKATER_WEB_SECRET', value: 'f00' }] },
      'another pod template at spec/containers/0/env',
    ],
    [
      'an annotation that is called almost so',
      { metadata: { annotations: { 'ops.example/neverRestartedAt': 'now' } } },
      'another pod template at metadata/annotations',
    ],
    ['a field that says nothing', { metadata: { creationTimestamp: null } }, null],
  ])('%s, where somebody has changed it, is told for what it is', (_, changes, found) => {
    const edit = editOfPods(view(changes), given());

    expect(edit?.found ?? null).toBe(found);
  });

  it('names three of the places, and counts the others', () => {
    const annotations = { a: '1', b: '2', c: '3', d: '4', e: '5' };
    const edit = editOfPods(
      view({ metadata: { annotations } }),
      given({ metadata: { annotations: { a: '', b: '', c: '', d: '', e: '' } } }),
    );

    expect(edit?.found).toBe(
      'another pod template at metadata/annotations/a, metadata/annotations/b, metadata/annotations/c and 2 more places',
    );
  });

  it('is put back without making pods anew that somebody has restarted', () => {
    const live = template({ env: [], metadata: { annotations: { [RESTARTED]: 'now', added: 'by hand' } } });
    const again = givenAgain(template({ metadata: { annotations: { [RESTARTED]: 'before', own: 'kept' } } }), live);

    expect(again).toEqual(template({ metadata: { annotations: { own: 'kept', [RESTARTED]: 'now' } } }));
  });

  it('is put back with the variable of a restart that was asked for, and without the edit beside it', () => {
    const hash = (value: string) => ({ name: 'STAKATER_WEB_CONFIGMAP', value });
    const live = template({ env: [{ name: 'MODE', value: 'debug' }, hash('now')] });
    const again = givenAgain(template({ env: [hash('before'), { name: 'OWN', value: 'kept' }] }), live);
    const none = givenAgain(template({ env: [hash('before')] }), template());

    expect(again).toEqual(template({ env: [{ name: 'OWN', value: 'kept' }, hash('now')] }));
    expect(none).toEqual(template());
  });

  it('is not known by the note of another release, nor by one without a template', () => {
    const another = given({}, { ...write, fence: { ...fence, release: 'r2' } });
    // Beyond what an annotation holds.
    const large = given({ env: [{ name: 'LARGE', value: 'x'.repeat(200_000) }] });

    expect([another.template, large.template]).toEqual([null, null]);
    expect(editOfPods(view({ env: [] }), large)).toBeNull();
  });
});
