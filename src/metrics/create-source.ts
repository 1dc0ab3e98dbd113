import { ReleaseError } from '../errors';
import { flagServiceOf } from '../flags/client/service-of';
import { HTTP_METRICS_HOSTS_ENV } from '../spec/defaults';
import type { MetricSourcePlan, TargetPlan } from '../spec/plan-types';
import type { ClosableMetricSource } from './metric-source';
import { readAllowedHosts } from './allowed-hosts';
import { createFlagSource } from './flag';
import { createHttpJsonSource } from './http-json';
import { createPrometheusSource } from './prometheus';
import { createPrometheusHistory } from './prometheus-history';
import type { PrometheusHistory } from './prometheus-history';
import type { PrometheusOptions } from './prometheus-request';
import { createRouterSource } from './router';
import { createSimulatedSource } from './simulated';

/**
 * The metric source a plan names. `env` is the worker's environment: tokens are read there by the names the plan gives.
 *
 * @throws ReleaseError `usage` when a named variable is empty, `unsupported` when source and target do not fit; both
 * are settings, which no retry mends.
 */
export function createMetricSource(
  plan: MetricSourcePlan,
  target: TargetPlan,
  env: Readonly<Record<string, string | undefined>>,
): ClosableMetricSource {
  switch (plan.kind) {
    case 'prometheus':
      return createPrometheusSource(prometheusOptions(plan, env));
    case 'http':
      return createHttpJsonSource({
        timeoutMs: plan.timeoutMs,
        allowed: readAllowedHosts(env[HTTP_METRICS_HOSTS_ENV], HTTP_METRICS_HOSTS_ENV),
        ...(plan.tokenEnv === null ? {} : { token: readToken(plan.tokenEnv, env) }),
      });
    case 'router': {
      if (target.kind !== 'router') {
        throw new ReleaseError(
          'unsupported',
          `A target of kind ${target.kind} has no in-app router to take metrics from.`,
          {
            hint: 'Set spec.analysis.source to prometheus, or use the router as target.',
          },
        );
      }
      return createRouterSource({ instances: target.instances });
    }
    case 'flag': {
      if (target.kind !== 'flag') {
        throw new ReleaseError('unsupported', `A target of kind ${target.kind} has no flag with outcomes.`, {
          hint: 'Set spec.analysis.source to prometheus, or use the flag as target.',
        });
      }
      const service = flagServiceOf(env, target);
      if ('wrong' in service) {
        throw new ReleaseError(
          'usage',
          `The environment variable ${target.urlEnv}, which should hold the flag service's address, is no address.`,
          { hint: `Set ${target.urlEnv} where the worker runs, such as http://flags.example:8014.` },
        );
      }
      return createFlagSource({ ...service, flag: target.name, environment: target.environment });
    }
    case 'simulated':
      return { ...createSimulatedSource(plan.phases), close: () => undefined };
  }
}

/**
 * What the metric source of a plan has recorded.
 *
 * @throws ReleaseError `unsupported` for a source that says what is, and not what was; `usage` as above.
 */
export function createHistory(
  plan: MetricSourcePlan,
  env: Readonly<Record<string, string | undefined>>,
): PrometheusHistory {
  switch (plan.kind) {
    case 'prometheus':
      return createPrometheusHistory(prometheusOptions(plan, env));
    case 'http':
      throw new ReleaseError(
        'unsupported',
        'A source of kind http has no history: it is asked about what is, and not about what was.',
        {
          hint: 'A backtest needs spec.analysis.source.prometheus.',
        },
      );
    case 'flag':
      throw new ReleaseError(
        'unsupported',
        'The outcomes of a flag have no history: they say what is, and not what was.',
        { hint: 'A backtest needs spec.analysis.source.prometheus.' },
      );
    case 'router':
    case 'simulated':
      throw new ReleaseError(
        'unsupported',
        "The in-app router's own counters have no history: they say what is, and not what was.",
        { hint: 'Let a Prometheus scrape the app, and name it in spec.analysis.source.prometheus.' },
      );
    default:
      return plan satisfies never;
  }
}

function prometheusOptions(
  { url, timeoutMs, tokenEnv }: Extract<MetricSourcePlan, { kind: 'prometheus' }>,
  env: Readonly<Record<string, string | undefined>>,
): PrometheusOptions {
  return { url, timeoutMs, ...(tokenEnv === null ? {} : { token: readToken(tokenEnv, env) }) };
}

function readToken(name: string, env: Readonly<Record<string, string | undefined>>): string {
  const token = env[name]?.trim();
  if (token !== undefined && token !== '') return token;
  throw new ReleaseError(
    'usage',
    `The environment variable ${name}, which should hold the metric source's token, is not set.`,
    {
      hint: `Set ${name} where the worker runs, or leave tokenEnv out of spec.analysis.source.`,
    },
  );
}
