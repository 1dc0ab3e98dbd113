import { scrapeTargets } from './scrape-targets';
import type { PodList } from './scrape-targets';

const scraped = { 'prometheus.io/scrape': 'true', 'prometheus.io/port': '8080' };

function podList(labels: Record<string, string>, annotations: Record<string, string> = scraped): PodList {
  const metadata = { name: 'shop-1', namespace: 'demo', labels, annotations };
  return { items: [{ metadata, status: { phase: 'Running', podIP: '10.213.0.10' } }] };
}

describe('which pods Prometheus scrapes, and what it calls them', () => {
  it('takes the app for the service, and stable for the track', () => {
    expect(scrapeTargets(podList({ app: 'shop' }))).toEqual([
      {
        targets: ['10.213.0.10:8080'],
        labels: { namespace: 'demo', pod: 'shop-1', service: 'shop', track: 'stable' },
      },
    ]);
  });

  it("takes the release's own labels first", () => {
    const labels = { app: 'shop-canary', 'sluice.dev/service': 'shop', 'sluice.dev/track': 'canary' };

    expect(scrapeTargets(podList(labels))[0]?.labels).toMatchObject({ service: 'shop', track: 'canary' });
  });

  it('leaves out those that do not ask for it, and those that have no address', () => {
    const silent = podList({ app: 'shop' }, {});
    const pending = podList({ app: 'shop' });
    const [pod] = pending.items;
    if (pod !== undefined) pod.status = { phase: 'Pending' };

    expect([...scrapeTargets(silent), ...scrapeTargets(pending)]).toEqual([]);
  });
});
