/* eslint-disable @typescript-eslint/no-require-imports --
   Loading Temporal's client takes a good part of a second and its worker far more; `sluice --help` and `sluice validate`
   must not pay for them. Requires are the lazy way in CommonJS; they are all here. */
import type * as Envconfig from '@temporalio/envconfig';
import type * as Slack from '@slack/web-api';
import type * as ClientError from '../client/client-error';
import type * as Connect from '../client/connect';
import type * as ConnectionOptions from '../client/connection-options';
import type * as CreateDeps from '../worker/create-deps';
import type * as FlagService from '../flags/client/flag-service-client';
import type * as FlagsServerStart from '../flags/server/open-flags-server';
import type * as Server from '../server/open-server';
import type * as StartWorker from '../worker/start-worker';
import type * as FindTemporal from '../devserver/find-temporal';
import type * as StartTemporal from '../devserver/start-temporal';
import type * as Metrics from '../metrics/create-source';
import type * as Backtest from '../backtest/backtest';
import type * as Absence from '../targets/kubernetes/absence';
import type * as Cluster from '../targets/kubernetes/cluster';
import type * as KubernetesTarget from '../targets/kubernetes/kubernetes-target';
import type * as DirectRollBack from '../targets/kubernetes/direct-roll-back';
import type * as ProxiedSmokeTest from '../targets/kubernetes/proxied-smoke-test';
import type * as ServiceLook from '../targets/kubernetes/service-look';
import type * as Permissions from '../targets/kubernetes/permissions';
import type * as Load from '../spec/load';
import type * as Plan from '../spec/plan';
import type * as ShortPlans from '../spec/short-plans';
import type * as DescribePlan from '../spec/describe-plan';
import type * as ReleaseReport from '../report/release-report';
import type * as BacktestReport from '../report/backtest-report';
import type * as MonitorReport from '../report/monitor-report';
import type * as JsonSchema from '../spec/json-schema';

/** The modules that are loaded when a command first needs them. */
export const lazy = {
  clientError: (): typeof ClientError => require('../client/client-error') as typeof ClientError,
  connect: (): typeof Connect => require('../client/connect') as typeof Connect,
  connectionOptions: (): typeof ConnectionOptions =>
    require('../client/connection-options') as typeof ConnectionOptions,
  envconfig: (): typeof Envconfig => require('@temporalio/envconfig') as typeof Envconfig,
  flagService: (): typeof FlagService => require('../flags/client/flag-service-client') as typeof FlagService,
  flagsServer: (): typeof FlagsServerStart => require('../flags/server/open-flags-server') as typeof FlagsServerStart,
  server: (): typeof Server => require('../server/open-server') as typeof Server,
  startWorker: (): typeof StartWorker => require('../worker/start-worker') as typeof StartWorker,
  findTemporal: (): typeof FindTemporal => require('../devserver/find-temporal') as typeof FindTemporal,
  startTemporal: (): typeof StartTemporal => require('../devserver/start-temporal') as typeof StartTemporal,
  metrics: (): typeof Metrics => require('../metrics/create-source') as typeof Metrics,
  backtest: (): typeof Backtest => require('../backtest/backtest') as typeof Backtest,
  createDeps: (): typeof CreateDeps => require('../worker/create-deps') as typeof CreateDeps,
  slack: (): typeof Slack => require('@slack/web-api') as typeof Slack,
  absence: (): typeof Absence => require('../targets/kubernetes/absence') as typeof Absence,
  cluster: (): typeof Cluster => require('../targets/kubernetes/cluster') as typeof Cluster,
  kubernetesTarget: (): typeof KubernetesTarget =>
    require('../targets/kubernetes/kubernetes-target') as typeof KubernetesTarget,
  directRollBack: (): typeof DirectRollBack =>
    require('../targets/kubernetes/direct-roll-back') as typeof DirectRollBack,
  proxiedSmokeTest: (): typeof ProxiedSmokeTest =>
    require('../targets/kubernetes/proxied-smoke-test') as typeof ProxiedSmokeTest,
  serviceLook: (): typeof ServiceLook => require('../targets/kubernetes/service-look') as typeof ServiceLook,
  permissions: (): typeof Permissions => require('../targets/kubernetes/permissions') as typeof Permissions,
  load: (): typeof Load => require('../spec/load') as typeof Load,
  plan: (): typeof Plan => require('../spec/plan') as typeof Plan,
  shortPlans: (): typeof ShortPlans => require('../spec/short-plans') as typeof ShortPlans,
  describePlan: (): typeof DescribePlan => require('../spec/describe-plan') as typeof DescribePlan,
  releaseReport: (): typeof ReleaseReport => require('../report/release-report') as typeof ReleaseReport,
  backtestReport: (): typeof BacktestReport => require('../report/backtest-report') as typeof BacktestReport,
  monitorReport: (): typeof MonitorReport => require('../report/monitor-report') as typeof MonitorReport,
  jsonSchema: (): typeof JsonSchema => require('../spec/json-schema') as typeof JsonSchema,
};
