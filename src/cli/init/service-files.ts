import { ReleaseError } from '../../errors';
import type { KubernetesObject } from '../../targets/kubernetes/objects';
import { lazy } from '../lazy';
import { manifestYaml } from '../manifest-yaml';
import type { Manifest } from '../manifest-yaml';
import { accessObjects } from '../service-role';
import { releaseFile } from './release-file';
import { routing } from './routing';
import type { InitSettings } from './settings';
import { autoscalers, deployments, disruptionBudgets, serviceMonitors, services } from './workloads';

/** What a new service consists of. */
export interface ServiceFiles {
  readonly files: readonly { readonly path: string; readonly text: string }[];
  /** Those of the files that belong into the cluster, in the order in which they are applied. */
  readonly objects: readonly KubernetesObject[];
}

/** In a folder of their own, so that `kubectl apply -f` takes it whole. */
export const MANIFESTS = 'kubernetes';
export const RELEASE_FILE = 'release.yaml';

export function serviceFiles(settings: InitSettings): ServiceFiles {
  const release = releaseFile(settings);
  const route = routing(settings);
  const groups: readonly (readonly [file: string, manifests: readonly Manifest[]])[] = [
    ['access.yaml', access(release, settings)],
    ['services.yaml', services(settings)],
    ['deployments.yaml', deployments(settings)],
    ['disruption-budgets.yaml', disruptionBudgets(settings)],
    ['autoscaler.yaml', autoscalers(settings)],
    ['service-monitor.yaml', serviceMonitors(settings)],
    ...(route === null ? [] : [[route.file, route.manifests] as const]),
  ];
  const used = groups.filter(([, manifests]) => manifests.length > 0);
  return {
    files: [
      { path: RELEASE_FILE, text: release },
      ...used.map(([file, manifests]) => ({ path: `${MANIFESTS}/${file}`, text: manifestYaml(manifests) })),
    ],
    objects: used.flatMap(([, manifests]) => manifests.map(({ object }) => object as KubernetesObject)),
  };
}

/** By the release.yaml itself, so that `sluice rbac` prints the same of it. */
function access(release: string, { image, name, account }: InitSettings): Manifest[] {
  const { parseSpec, invalidSpec } = lazy.load();
  const parsed = parseSpec(release, RELEASE_FILE);
  if (!parsed.ok) throw invalidSpec(parsed.problems);
  const { target } = lazy.plan().plan(parsed.spec, image);
  if (target.kind !== 'kubernetes')
    throw new ReleaseError('internal', `${RELEASE_FILE} is not of a Kubernetes target.`);
  const [first, ...rest] = accessObjects({ target, service: name }, account);
  const comment =
    'What the worker may do for this service, and nothing else: `sluice rbac release.yaml` prints it, too.';
  return [{ comment, object: first }, ...rest.map((object) => ({ object }))];
}
