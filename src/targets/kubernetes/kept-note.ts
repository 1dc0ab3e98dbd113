import { annotate, parseJson, withFence } from '../../traffic/fence';
import { rewrite } from '../../traffic/held-object';
import { z } from 'zod';
import type { TargetWrite } from '../target';
import type { Cluster } from './cluster';
import { ownNote } from './given-pods';
import type { ObjectRef } from './objects';
import type { PodTemplate } from './pod-config';
import { KEPT_ANNOTATION } from './target-note';
import type { NotedStable } from './target-note';
import type { Labels } from './tracks';
import { isMade } from './workloads';

const Kept = z.object({
  release: z.string(),
  template: z.record(z.string(), z.unknown()),
  stable: z.custom<NotedStable>((value) => typeof value === 'object' && value !== null).optional(),
  admitted: z.string().optional(),
});
/** What a Deployment that is gone is made of again. */
export type KeptNote = Readonly<z.infer<typeof Kept>>;

/** Keeps on `on` what the release has noted on the Deployment; a Service of the user's own is left as it is. */
export async function keepNote(
  cluster: Cluster,
  { of, on }: { readonly of: ObjectRef; readonly on: ObjectRef },
  write: TargetWrite,
): Promise<void> {
  const { signal, fence } = write;
  const { template, stable, admitted } = ownNote(await cluster.find(of, { signal }), write) ?? {};
  const service = await cluster.find(on, { signal });
  // Without a template it says nothing that stable does not say.
  if (template === undefined || service === null || !isMade(service)) return;
  const text = JSON.stringify({ release: fence.release, template, stable, admitted });
  await rewrite(cluster, on, write, (live) =>
    live.metadata.annotations?.[KEPT_ANNOTATION] === text
      ? live
      : annotate(withFence(live, fence), { [KEPT_ANNOTATION]: text }),
  );
}

/** Null where this release has kept nothing there, or the Service is gone, too. */
export async function keptNote(
  cluster: Cluster,
  on: ObjectRef,
  { signal, fence }: Pick<TargetWrite, 'fence' | 'signal'>,
): Promise<KeptNote | null> {
  const service = (await cluster.find(on, { signal })) ?? (await cluster.find(on, { signal, asked: true }));
  const kept = parseJson(Kept, service?.metadata.annotations?.[KEPT_ANNOTATION]);
  return kept?.release === fence.release ? kept : null;
}

/** The kept template with the labels by which its pods are found now; of a Deployment of the user's own they were others. */
export function keptTemplate({ template }: KeptNote, found: Labels): PodTemplate {
  const metadata = template['metadata'] as { readonly labels?: Labels } | undefined;
  return { ...template, metadata: { ...metadata, labels: { ...metadata?.labels, ...found } } };
}

/** Of a Deployment that was gone: `was gone, and was made again`, and of what, where that is not what was tested. */
export function describeMadeAgain(
  kept: KeptNote | null,
  like: { readonly namespace: string; readonly name: string },
): string {
  const again = 'was gone, and was made again';
  if (kept !== null) return again;
  return `${again} like Deployment ${like.namespace}/${like.name} is now, because what was tested is noted nowhere else`;
}
