import type { DeploymentView } from '../deployment-view';
import { selects, SERVICE_LABEL, TRACK_LABEL } from '../tracks';
import type { Labels } from '../tracks';

export const COLOURS = ['blue', 'green'] as const;
export type Colour = (typeof COLOURS)[number];

export function otherColour(colour: Colour): Colour {
  return colour === 'blue' ? 'green' : 'blue';
}

/** Longest value of a label. */
const MAX_LABEL = 63;

/** Of labels that do not name a colour, the first that there is tells the two apart. */
const TELLING = [TRACK_LABEL, 'color', 'colour', 'track', 'app.kubernetes.io/name', 'app'];
const NAMES_A_TRACK = [TRACK_LABEL, 'color', 'colour', 'track'];

/**
 * The labels of pods that an idle Deployment is to have, made after the active one: wherever its labels name the colour,
 * the other one is named; and neither the Service's selector nor the active Deployment's own finds them.
 */
export function labelsOfIdle(
  active: Pick<DeploymentView, 'templateLabels' | 'selector'>,
  { colour, service, selector }: { readonly colour: Colour; readonly service: string; readonly selector: Labels },
): Labels {
  const from = otherColour(colour);
  const renamed = Object.fromEntries(
    Object.entries(active.templateLabels).map(([key, value]) => [key, recoloured(value, from, colour)]),
  );
  let labels: Labels = { ...renamed, [SERVICE_LABEL]: service, [TRACK_LABEL]: colour };
  for (const found of [selector, active.selector]) {
    if (selects(found, labels)) labels = { ...labels, ...changedIn(found, colour) };
  }
  return labels;
}

/** Labels with the other colour wherever they name the one. */
export function recolouredLabels(labels: Labels, to: Colour): Labels {
  const from = otherColour(to);
  return Object.fromEntries(Object.entries(labels).map(([key, value]) => [key, recoloured(value, from, to)]));
}

function recoloured(value: string, from: Colour, to: Colour): string {
  return value === from ? to : value.endsWith(`-${from}`) ? `${value.slice(0, -from.length)}${to}` : value;
}

function changedIn(selector: Labels, colour: Colour): Labels {
  const keys = Object.keys(selector).sort();
  const key = TELLING.find((one) => keys.includes(one)) ?? keys[0];
  if (key === undefined) return {};
  const suffix = `-${colour}`;
  const value = selector[key] ?? '';
  return { [key]: NAMES_A_TRACK.includes(key) ? colour : `${value.slice(0, MAX_LABEL - suffix.length)}${suffix}` };
}
