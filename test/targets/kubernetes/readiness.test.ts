import fc from 'fast-check';
import { readDeployment } from '../../../src/targets/kubernetes/deployment-view';
import { readinessOf, readyPods } from '../../../src/targets/kubernetes/readiness';
import { DEADLINE_EXCEEDED, deploymentObject } from './deployment-objects';
import type { DeploymentStatus } from './deployment-objects';

function look(spec: Readonly<Record<string, unknown>>, status: DeploymentStatus, needed: number, complete = false) {
  return readinessOf(readDeployment(deploymentObject(spec, status)), needed, { complete });
}

describe('readiness', () => {
  it('is there when the needed pods of the newest version are available', () => {
    const readiness = look({ replicas: 3 }, { replicas: 3, updatedReplicas: 3, availableReplicas: 2 }, 2);

    expect(readiness).toEqual({
      kind: 'ready',
      sentence: 'Deployment shop/checkout has 2 available pods of its newest version.',
    });
  });

  it('tells of ready pods those of the newest version alone', () => {
    const view = readDeployment(
      deploymentObject({ replicas: 1 }, { replicas: 2, updatedReplicas: 1, availableReplicas: 2 }),
    );

    expect(readyPods(view)).toBe('1 ready pod');
  });

  it('is not there before the controller has seen the last change, whatever the counts say', () => {
    const readiness = look(
      { replicas: 2 },
      { observedGeneration: 1, replicas: 2, updatedReplicas: 2, availableReplicas: 2 },
      2,
    );

    expect(readiness).toEqual({
      kind: 'progressing',
      sentence: 'The controller of Deployment shop/checkout has not seen its last change yet (generation 2, seen 1).',
    });
  });

  it('does not take available pods of older versions for those of the newest', () => {
    // Three old ones serve, the new one is there and not available.
    const readiness = look({ replicas: 3 }, { replicas: 4, updatedReplicas: 1, availableReplicas: 3 }, 1);

    expect(readiness).toEqual({
      kind: 'progressing',
      sentence:
        'Deployment shop/checkout has 0 of 1 needed pod of its newest version available (1 of 1 made, 3 of older versions left).',
    });
  });

  it('waits for the older versions to be gone where the rollout must be complete', () => {
    const status = { replicas: 3, updatedReplicas: 2, availableReplicas: 3 };

    expect(look({ replicas: 2 }, status, 2).kind).toBe('ready');
    expect(look({ replicas: 2 }, status, 2, true).kind).toBe('progressing');
    expect(look({ replicas: 2 }, { ...status, replicas: 2, availableReplicas: 2 }, 2, true).kind).toBe('ready');
  });

  it('waits for all asked-for pods to be of the newest version where the rollout must be complete', () => {
    const status = { replicas: 2, updatedReplicas: 2, availableReplicas: 2 };

    expect(look({ replicas: 5 }, status, 2, true).kind).toBe('progressing');
    expect(look({ replicas: 5 }, status, 2).kind).toBe('ready');
  });

  it('says so when fewer pods are asked for than needed', () => {
    const readiness = look({ replicas: 1 }, { replicas: 1, updatedReplicas: 1, availableReplicas: 1 }, 3);

    expect(readiness.sentence).toBe(
      'Deployment shop/checkout has 1 of 3 needed pods of its newest version available (1 of 3 made, 0 of older versions left); no more than 1 is asked for.',
    );
  });

  it('is given up with the controller, but not where the needed pods are there all the same', () => {
    const conditions = [DEADLINE_EXCEEDED];
    const status = { replicas: 3, updatedReplicas: 3, availableReplicas: 1, conditions };

    expect(look({ replicas: 3, progressDeadlineSeconds: 30 }, status, 3)).toMatchObject({
      kind: 'deadline',
      sentence:
        'Deployment shop/checkout made no progress within its progressDeadlineSeconds (30); it has 1 of 3 needed pods of its newest version available (3 of 3 made, 0 of older versions left).',
      condition: { lastUpdateTime: '2026-01-01T00:00:00Z' },
    });
    expect(look({ replicas: 3 }, status, 1).kind).toBe('ready');
  });

  it.each([
    { ...DEADLINE_EXCEEDED, status: 'True' },
    { ...DEADLINE_EXCEEDED, reason: 'ReplicaSetUpdated' },
    { ...DEADLINE_EXCEEDED, type: 'Available' },
  ])('takes no other condition for the deadline: %j', (condition) => {
    expect(look({ replicas: 1 }, { conditions: [condition] }, 1).kind).toBe('progressing');
  });

  it('is refused for a paused Deployment, also one whose pods are all there', () => {
    const readiness = look({ replicas: 1, paused: true }, { replicas: 1, updatedReplicas: 1, availableReplicas: 1 }, 1);

    expect(readiness).toEqual({
      kind: 'paused',
      sentence:
        'Deployment shop/checkout is paused, so it rolls nothing out; resume it with kubectl -n shop rollout resume deployment/checkout.',
    });
  });

  it('never holds for fewer available pods of the newest version than needed (property)', () => {
    // A world of pods, from which the status is counted as the controller does.
    const pod = fc.record({ newest: fc.boolean(), available: fc.boolean() });
    fc.assert(
      fc.property(
        fc.array(pod, { maxLength: 12 }),
        fc.nat(8),
        fc.nat(8),
        fc.boolean(),
        (pods, replicas, needed, complete) => {
          const status = {
            replicas: pods.length,
            updatedReplicas: pods.filter((one) => one.newest).length,
            availableReplicas: pods.filter((one) => one.available).length,
          };

          const { kind } = look({ replicas }, status, needed, complete);

          const available = pods.filter((one) => one.newest && one.available).length;
          if (kind === 'ready') {
            expect(available).toBeGreaterThanOrEqual(needed);
            if (complete) expect(pods.every((one) => one.newest)).toBe(true);
          }
          // The other way round, where every pod that is left of an older version still serves.
          const settled = pods.every((one) => one.newest || one.available);
          if (settled && !complete && available >= needed) expect(kind).toBe('ready');
        },
      ),
    );
  });
});
