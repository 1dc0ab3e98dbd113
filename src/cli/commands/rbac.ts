import { ReleaseError } from '../../errors';
import { manifestYaml } from '../manifest-yaml';
import type { Registry } from '../registry';
import { accessObjects, parseAccount, USUAL_ACCOUNT } from '../service-role';
import { ANY_IMAGE } from '../spec-source';

interface RbacOptions {
  readonly serviceAccount?: string;
}

/** `sluice rbac`: the rights that releases of a service need, as Kubernetes' objects. */
export function addRbacCommand(registry: Registry): void {
  registry
    .add('rbac <release.yaml>', 'Print the Role a worker needs for this service, and its binding', [
      'sluice rbac release.yaml | kubectl apply -f -',
      'sluice rbac release.yaml --service-account sluice-system/worker',
    ])
    .option(
      '--service-account <[namespace/]name>',
      `who gets it, printed as well (default: ${USUAL_ACCOUNT} in the service's namespace, not printed)`,
    )
    .action(async (path: string, options: RbacOptions, command) => {
      await registry.run(command, async (session) => {
        const { target: kind } = await session.cli.spec.identify(path);
        if (kind !== 'kubernetes') throw notInCluster(path, kind);
        const { target, service } = await session.cli.spec.plan(path, ANY_IMAGE);
        if (target.kind !== 'kubernetes') throw notInCluster(path, target.kind);
        const account = parseAccount(options.serviceAccount, target.namespace);
        const all = accessObjects({ target, service }, account);
        const objects = options.serviceAccount === undefined ? all.slice(1) : all;
        session.result({ apiVersion: 'v1', kind: 'List', items: objects }, () =>
          manifestYaml(objects.map((object) => ({ object })))
            .trimEnd()
            .split('\n'),
        );
      });
    });
}

function notInCluster(path: string, kind: string): ReleaseError {
  return new ReleaseError('usage', `${path} releases to a ${kind}, which needs no rights in a cluster.`, {
    hint: 'Allowed: a release.yaml whose target is kubernetes.',
  });
}
