import { ReleaseError } from '../errors';
import { sealPlan } from './plan';
import type { ApproveStep, Colour, Plan, PlanStep, TrackName, WeightStep } from './plan-types';

/** What a person asks for of what is there already, without a release in progress. */
export type ShortWish =
  /** Some of the traffic for what the canary runs, which is then held for a person. */
  | { readonly kind: 'traffic'; readonly weight: number; readonly holdMs: number }
  /** All of the traffic for what the canary runs, and its promotion. */
  | { readonly kind: 'promote' }
  /** The same for the idle colour; held for a person where the weight is below 100. */
  | { readonly kind: 'switch'; readonly colour: Colour; readonly weight: number; readonly holdMs: number }
  /** Takes away what is left of a track. */
  | { readonly kind: 'cleanup'; readonly track: TrackName };

/**
 * The plan of a short release, made of the spec's own plan: its smoke test, soaks, analysis, approvals and promotion; the
 * weights are the wish's. Pure, like `plan`. `base` is the spec's plan of the version that the track runs.
 *
 * @throws ReleaseError `usage` or `unsupported` for a wish that the spec's target does not know.
 */
export function shortPlan(base: Plan, wish: ShortWish): Plan {
  refuseElsewhere(base, wish);
  const { hash: _, ...unsealed } = base;
  const short = wish.kind;
  if (wish.kind !== 'cleanup') return sealPlan({ ...unsealed, short, steps: stepsOf(base, wish) });
  const { track } = wish;
  return sealPlan({
    ...unsealed,
    short,
    steps: [{ kind: 'cleanUp', name: `clean up ${track}`, track }],
    // What is taken away need not be in a registry any more.
    target: base.target.kind === 'kubernetes' ? { ...base.target, resolveImage: 'never' } : base.target,
    analysis: { ...base.analysis, metrics: [] },
    // Nothing is held half cleaned up for a person to look at.
    onFailure: 'rollback',
  });
}

function stepsOf(base: Plan, wish: Exclude<ShortWish, { kind: 'cleanup' }>): PlanStep[] {
  const to = wish.kind === 'promote' ? 100 : wish.weight;
  const holds = wish.kind === 'traffic' || to < 100;
  const onto = wish.kind === 'switch' ? { onto: wish.colour } : {};
  const before: PlanStep[] = [];
  const after: ApproveStep[] = [];
  let promotion: PlanStep | null = null;
  let reached = 0;
  for (const step of base.steps) {
    switch (step.kind) {
      case 'deploy':
        before.push({ ...step, ...onto });
        break;
      case 'smokeTest':
        before.push(step);
        break;
      case 'weight':
        reached = step.weight;
        break;
      case 'approve':
        // One that the spec has before such a weight is not walked around.
        if (reached < to) before.push(step);
        else after.push(step);
        break;
      case 'promote':
        promotion = step;
        break;
      case 'match':
      case 'cleanUp':
        break;
    }
  }
  if (promotion === null) throw new ReleaseError('internal', 'The plan of the spec has no promotion.');
  const [first, ...rest] = after;
  const held = holds ? [hold(wish, first)] : after.slice(0, 1);
  const whole = to < 100 ? [weightStep(base, 100)] : [];
  return [...before, weightStep(base, to), ...held, ...rest, ...whole, promotion];
}

/** For as long as the spec soaks at its first weight that is no smaller; every spec ends at 100. */
function weightStep({ steps }: Plan, weight: number): WeightStep {
  const weights = steps.filter((step) => step.kind === 'weight');
  const like = weights.find((step) => step.weight >= weight) ?? weights.at(-1);
  if (like === undefined) throw new ReleaseError('internal', 'The plan of the spec has no weight.');
  return { kind: 'weight', name: `weight ${weight} %`, weight, soakMs: like.soakMs };
}

/** In the place of the spec's next approval, where there is one: whoever may give that decides here. */
function hold(wish: Exclude<ShortWish, { kind: 'cleanup' }>, approval: ApproveStep | undefined): ApproveStep {
  const timeoutMs = wish.kind === 'promote' ? 0 : wish.holdMs;
  return { kind: 'approve', name: 'promote or back', by: approval?.by ?? [], timeoutMs, onExpiry: 'rollback' };
}

function refuseElsewhere({ target, service }: Plan, wish: ShortWish): void {
  if (target.kind !== 'kubernetes') {
    throw new ReleaseError(
      'unsupported',
      `${service} is released by its ${target.kind}, where no track is left beside the stable one without a release.`,
      { hint: 'Start a release: sluice deploy release.yaml --version VERSION.' },
    );
  }
  const blueGreen = target.strategy === 'blueGreen';
  const colours = wish.kind === 'switch' || (wish.kind === 'cleanup' && wish.track !== 'canary');
  if (blueGreen && !colours) {
    const asked = wish.kind === 'cleanup' ? 'a canary' : `a canary that \`sluice ${wish.kind}\` could be about`;
    throw new ReleaseError('usage', `${service} has the colours blue and green, and not ${asked}.`, {
      hint:
        wish.kind === 'cleanup'
          ? 'Name the idle colour: sluice cleanup blue|green -f release.yaml.'
          : 'Switch to the idle colour: sluice switch blue|green [percent] -f release.yaml.',
    });
  }
  if (!blueGreen && colours) {
    throw new ReleaseError('usage', `${service} has a canary beside stable, and no colours: its strategy is canary.`, {
      hint:
        wish.kind === 'cleanup'
          ? 'Write: sluice cleanup canary -f release.yaml.'
          : 'Use sluice promote or sluice traffic, each with -f release.yaml.',
    });
  }
  if (wish.kind !== 'traffic' && wish.kind !== 'switch') return;
  if (!Number.isInteger(wish.weight) || wish.weight < 1 || wish.weight > 100) {
    throw new ReleaseError(
      'usage',
      `The weight is ${wish.weight}; a short release takes a whole percentage from 1 to 100.`,
      {
        hint: 'To take traffic away without a release, clean the track up: sluice cleanup TRACK -f release.yaml.',
      },
    );
  }
  if (target.traffic.kind === 'serviceSelector' && wish.weight < 100) {
    throw new ReleaseError('usage', `The weight is ${wish.weight}; a Service selector knows only 0 and 100.`, {
      hint: wish.kind === 'switch' ? 'Leave the percentage out.' : 'Write 100, or use sluice promote.',
    });
  }
}
