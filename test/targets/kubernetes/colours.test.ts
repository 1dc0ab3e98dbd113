import { labelsOfIdle, recolouredLabels } from '../../../src/targets/kubernetes/blue-green/colours';
import { selects } from '../../../src/targets/kubernetes/tracks';

describe('the labels of pods on a colour that is made after the other', () => {
  it.each<[string, Record<string, string>, Record<string, string>, Record<string, string>]>([
    [
      'name the other colour wherever a label names the one',
      { app: 'checkout', color: 'blue', release: 'checkout-blue' },
      { app: 'checkout', color: 'blue' },
      { app: 'checkout', color: 'green', release: 'checkout-green' },
    ],
    [
      'by Sluice’s own label, where the Service selects by that',
      { app: 'checkout', 'sluice.dev/track': 'blue' },
      { 'sluice.dev/track': 'blue' },
      { app: 'checkout' },
    ],
    [
      'differ in the app where nothing names a colour',
      { app: 'checkout', tier: 'web' },
      { app: 'checkout' },
      { app: 'checkout-green', tier: 'web' },
    ],
    [
      'differ in any label where there is no usual one, within its length',
      { group: 'x'.repeat(63) },
      { group: 'x'.repeat(63) },
      { group: `${'x'.repeat(57)}-green` },
    ],
  ])('%s', (_, templateLabels, selector, expected) => {
    const labels = labelsOfIdle({ templateLabels, selector }, { colour: 'green', service: 'checkout', selector });

    expect(labels).toEqual({ ...expected, 'sluice.dev/service': 'checkout', 'sluice.dev/track': 'green' });
    expect(selects(selector, labels)).toBe(false);
  });

  it('are found by the active Deployment’s own selector no more than by the Service’s', () => {
    const active = { templateLabels: { app: 'checkout', slot: 'blue' }, selector: { app: 'checkout' } };
    const labels = labelsOfIdle(active, { colour: 'green', service: 'checkout', selector: { slot: 'blue' } });

    expect(labels).toMatchObject({ app: 'checkout-green', slot: 'green' });
  });

  it('change back to what they were, and leave others as they are', () => {
    const labels = { a: 'blue', b: 'x-blue', c: 'bluebird', d: 'green' };

    expect(recolouredLabels(recolouredLabels(labels, 'green'), 'blue')).toEqual({ ...labels, d: 'blue' });
    expect(recolouredLabels(labels, 'green')).toMatchObject({ a: 'green', b: 'x-green', c: 'bluebird' });
  });
});
