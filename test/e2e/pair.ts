import type { Colour } from '../../src/spec/plan-types';
import type { KubernetesObject } from '../../src/targets/kubernetes/objects';
import type { Lab } from '../lab/lab';
import { ask } from '../lab/shop';
import { shopHost } from '../lab/shop-manifests';
import { eventually } from './eventually';
import type { LabShop } from './lab-shop';
import type { SpecChoices } from './release-stack';

/** What the first blue-green release of a shop makes, and leaves. */
export const MADE_FOR_GOOD: readonly string[] = ['Deployment/shop-green', 'Service/shop-blue', 'Service/shop-green'];

/** The pods' labels, by which the Service finds those of one colour. */
const BLUE = { app: 'shop', color: 'blue' } as const;

const WITHIN_MS = 60_000;

export function otherColour(colour: Colour): Colour {
  return colour === 'blue' ? 'green' : 'blue';
}

/** The colour that the shop's Service finds. */
export function selectedColour(objects: ReadonlyMap<string, KubernetesObject>): string | undefined {
  const { selector } = objects.get('Service/shop')?.['spec'] as { selector: Readonly<Record<string, string>> };
  return selector['color'];
}

/** What a user has before the first blue-green release: the running Deployment under a colour's name. */
export async function becomeBlue(lab: Lab, shop: LabShop): Promise<void> {
  const { spec } = (await shop.deployment()) as unknown as {
    spec: { template: { metadata: object; spec: object } };
  };
  await shop.create({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'shop-blue', labels: BLUE },
    spec: {
      ...spec,
      selector: { matchLabels: BLUE },
      template: { ...spec.template, metadata: { ...spec.template.metadata, labels: BLUE } },
    },
  });
  await shop.settled('shop-blue');
  await shop.patch('Service', [{ op: 'replace', path: '/spec/selector', value: BLUE }]);
  await shop.delete('Deployment');
  await eventually(
    async () => (await ask(lab, shopHost(shop.namespace))).version === 'v1',
    'blue answers at the gateway',
    WITHIN_MS,
  );
}

export type PairChoices = SpecChoices & { readonly keepOld?: string };

/** Of a release of a pair: the switch, a soak, and the old colour kept for five minutes. */
export function pairChoices({ keepOld = '5m', kubernetes = '', ...more }: PairChoices = {}): SpecChoices {
  return {
    weights: [100],
    traffic: '{ serviceSelector: {} }',
    kubernetes: `      strategy: blueGreen\n      keepOld: ${keepOld}\n${kubernetes}`,
    ...more,
  };
}
