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

  it('is not known by the note of another release, nor by one without a template', () => {
    const another = given({}, { ...write, fence: { ...fence, release: 'r2' } });
    // Beyond what an annotation holds.
    const large = given({ env: [{ name: 'LARGE', value: 'x'.repeat(200_000) }] });

    expect([another.template, large.template]).toEqual([null, null]);
    expect(editOfPods(view({ env: [] }), large)).toBeNull();
  });
});
