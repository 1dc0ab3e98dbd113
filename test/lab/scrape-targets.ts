import { z } from 'zod';

/** What matters of a pod to whoever scrapes it. */
export const PodList = z.object({
  items: z.array(
    z.object({
      metadata: z.object({
        name: z.string(),
        namespace: z.string(),
        labels: z.record(z.string(), z.string()).optional(),
        annotations: z.record(z.string(), z.string()).optional(),
      }),
      status: z.object({ phase: z.string().optional(), podIP: z.string().optional() }),
    }),
  ),
});
export type PodList = z.infer<typeof PodList>;

/** One entry of Prometheus' `file_sd_configs`. */
export interface ScrapeTarget {
  readonly targets: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The pods that ask to be scraped, by annotation, under the names that the spec's presets know: the service is the app,
 * unless the pod says whose release it belongs to, and the track is stable, unless the pod says otherwise.
 */
export function scrapeTargets({ items }: PodList): readonly ScrapeTarget[] {
  const targets: ScrapeTarget[] = [];
  for (const { metadata, status } of items) {
    const { name, namespace, labels = {}, annotations = {} } = metadata;
    const port = annotations['prometheus.io/port'];
    if (annotations['prometheus.io/scrape'] !== 'true' || port === undefined) continue;
    if (status.phase !== 'Running' || status.podIP === undefined) continue;
    const service = labels['sluice.dev/service'] ?? labels['app'];
    targets.push({
      targets: [`${status.podIP}:${port}`],
      labels: {
        namespace,
        pod: name,
        ...(service === undefined ? {} : { service }),
        track: labels['sluice.dev/track'] ?? 'stable',
      },
    });
  }
  return targets;
}
