import { writeFileSync } from 'node:fs';
import { Paths } from './layout';
import type { LabState } from './state';

/** Writes the kubeconfig: the contexts `lab` (may do everything) and `limited` (a user without any rights). */
export function writeKubeconfig(state: LabState, certificate: string): void {
  const document = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name: 'sluice-lab',
        cluster: {
          server: `https://127.0.0.1:${state.ports.apiServer}`,
          'certificate-authority-data': Buffer.from(certificate).toString('base64'),
        },
      },
    ],
    users: [
      { name: 'admin', user: { token: state.tokens.admin } },
      { name: 'limited', user: { token: state.tokens.limited } },
    ],
    contexts: [
      { name: 'lab', context: { cluster: 'sluice-lab', user: 'admin' } },
      { name: 'limited', context: { cluster: 'sluice-lab', user: 'limited' } },
    ],
    'current-context': 'lab',
  };
  writeFileSync(Paths.kubeconfig, `${JSON.stringify(document, null, 2)}\n`, { mode: 0o600 });
}
