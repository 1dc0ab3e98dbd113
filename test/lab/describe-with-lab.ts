import { isAlive } from '../../src/devserver/process-identity';
import { findKindLab } from './kind';
import { findNamedLab, labOf } from './lab';
import type { Lab } from './lab';
import { readState } from './state';

/**
 * A suite against a real cluster: the one that the environment names (KUBECONFIG and SLUICE_LAB_*), or the lab that runs
 * on this machine. Without either it is skipped, and says so. scripts/test brings a lab up for its whole run.
 */
export function describeWithLab(name: string, suite: (lab: Lab) => void): void {
  const state = readState();
  const kubelet = state?.processes.kubelet;
  // A lab whose programs ended with the machine leaves its state behind.
  const runs = kubelet !== undefined && isAlive(kubelet.pid);
  const lab = findNamedLab() ?? (state !== undefined && runs ? labOf(state) : findKindLab());
  if (lab === undefined) {
    process.stderr.write(`skipped "${name}": no lab runs on this machine; scripts/lab up starts one\n`);
    describe.skip(name, () => {
      it('needs a cluster', () => undefined);
    });
    return;
  }
  describe(name, () => suite(lab));
}
