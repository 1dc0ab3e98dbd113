import { dirname, delimiter } from 'node:path';
import { ReleaseError } from '../../src/errors';
import { findKindLab } from './kind';
import { Paths } from './layout';
import { readState, runningPid } from './state';
import type { LabState } from './state';

/** Where the parts of a running lab are reached. */
export interface Lab {
  readonly kubeconfig: string;
  /** Base address of the gateway; a request is led by its Host header. */
  readonly gatewayUrl: string;
  /** The port that the listeners of Gateways have to name. */
  readonly listenerPort: number;
  readonly prometheusUrl: string;
  /** `host:port` of the registry, as image references begin. */
  readonly registry: string;
  /** The kubectl of the lab's version. */
  readonly kubectl: string;
}

export function labOf({ ports, parts }: LabState): Lab {
  return {
    kubeconfig: Paths.kubeconfig,
    gatewayUrl: `http://127.0.0.1:${ports.gateway}`,
    listenerPort: ports.gateway,
    prometheusUrl: `http://127.0.0.1:${ports.prometheus}`,
    registry: `127.0.0.1:${ports.registry}`,
    kubectl: `${parts.kubernetes}/kubectl`,
  };
}

/** The cluster that the environment names, as `scripts/lab run` sets it or a person does for a cluster of their own. */
export function findNamedLab(env: NodeJS.ProcessEnv = process.env): Lab | undefined {
  const { KUBECONFIG, SLUICE_LAB_GATEWAY_URL, SLUICE_LAB_PROMETHEUS_URL, SLUICE_LAB_REGISTRY } = env;
  if (!KUBECONFIG || !SLUICE_LAB_GATEWAY_URL || !SLUICE_LAB_PROMETHEUS_URL || !SLUICE_LAB_REGISTRY) return undefined;
  return {
    kubeconfig: KUBECONFIG,
    gatewayUrl: SLUICE_LAB_GATEWAY_URL,
    listenerPort: Number(env['SLUICE_LAB_LISTENER_PORT'] ?? (new URL(SLUICE_LAB_GATEWAY_URL).port || 80)),
    prometheusUrl: SLUICE_LAB_PROMETHEUS_URL,
    registry: SLUICE_LAB_REGISTRY,
    kubectl: 'kubectl',
  };
}

/** The lab that runs on this machine, or the cluster that the environment names; undefined when there is neither. */
export async function findLab(): Promise<Lab | undefined> {
  const state = readState();
  if (state !== undefined && (await runningPid(state, 'kubelet')) !== undefined) return labOf(state);
  return findKindLab() ?? findNamedLab();
}

/** @throws ReleaseError when no lab runs */
export async function requireLab(): Promise<Lab> {
  const lab = await findLab();
  if (lab !== undefined) return lab;
  throw new ReleaseError('not-found', 'No lab runs on this machine.', { hint: 'scripts/lab up starts one.' });
}

/** What `scripts/lab run` sets for its command. */
export function labEnvironment(lab: Lab): Readonly<Record<string, string>> {
  return {
    KUBECONFIG: lab.kubeconfig,
    SLUICE_LAB_GATEWAY_URL: lab.gatewayUrl,
    SLUICE_LAB_LISTENER_PORT: String(lab.listenerPort),
    SLUICE_LAB_PROMETHEUS_URL: lab.prometheusUrl,
    SLUICE_LAB_REGISTRY: lab.registry,
    PATH: [dirname(lab.kubectl), process.env['PATH'] ?? ''].join(delimiter),
  };
}
