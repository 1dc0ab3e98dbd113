import { normalQuantile } from './normal-quantile';

/** Wilson's 95 % interval of a share that was seen `count` times in `of` (E. B. Wilson 1927); all of it for none. */
export function wilsonInterval(count: number, of: number): { readonly lower: number; readonly upper: number } {
  if (of === 0) return { lower: 0, upper: 1 };
  const z = normalQuantile(0.975);
  const share = count / of;
  const centre = share + (z * z) / (2 * of);
  const spread = z * Math.sqrt((share * (1 - share)) / of + (z * z) / (4 * of * of));
  const scale = 1 + (z * z) / of;
  return {
    lower: count === 0 ? 0 : (centre - spread) / scale,
    upper: count === of ? 1 : (centre + spread) / scale,
  };
}
