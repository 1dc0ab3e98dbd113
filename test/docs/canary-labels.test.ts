import { readFileSync } from 'node:fs';
import path from 'node:path';
import { canaryLabels } from '../../src/targets/kubernetes/tracks';

const PAGE = readFileSync(path.join(__dirname, '../../docs/kubernetes.md'), 'utf8');

/** As the page lists them: the first that the Service selects by is changed. */
function listed(): string[] {
  const [, list = ''] =
    /The one is of those that the Service selects by: ([^;]*?), the first of these/.exec(PAGE) ?? [];
  return [...list.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);
}

function changedOf(keys: readonly string[]): string[] {
  const selector = Object.fromEntries(keys.map((key) => [key, 'checkout']));
  const stable = { name: 'checkout', namespace: 'shop', templateLabels: { ...selector, tier: 'web' } };
  const labels = canaryLabels(stable, { name: 'checkout', selector });
  return Object.keys(stable.templateLabels).flatMap((key) =>
    labels[key] === 'checkout' || labels[key] === 'web' ? [] : [`${key}: ${labels[key] ?? ''}`],
  );
}

it('docs/kubernetes.md lists the labels of which one is changed on a canary’s pods, in their order', () => {
  const keys = listed();

  expect(keys).toHaveLength(5);
  for (const [at, key] of keys.entries()) {
    const value = at < 2 ? 'canary' : 'checkout-canary';
    expect(changedOf(keys.slice(at).reverse())).toEqual([`${key}: ${value}`]);
  }
  expect(changedOf(['zone', 'component'])).toEqual(['component: checkout-canary']);
});
