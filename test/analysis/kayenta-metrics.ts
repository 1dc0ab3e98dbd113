import type { KayentaMetric } from '../../src/analysis/kayenta-policy';

/** A metric as a canary config of Kayenta leaves it that says nothing but its name, group and direction. */
export function kayentaMetric(
  changes: Pick<KayentaMetric, 'name' | 'groups' | 'direction'> & Partial<KayentaMetric>,
): KayentaMetric {
  const sizes = { allowedIncrease: 1, allowedDecrease: 1, criticalIncrease: 1, criticalDecrease: 1 };
  return {
    nanStrategy: 'remove',
    outliers: { strategy: 'keep', factor: 3 },
    critical: false,
    mustHaveData: false,
    muted: false,
    effectSize: { measure: 'meanRatio', ...sizes },
    ...changes,
  };
}
