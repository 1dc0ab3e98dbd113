/** The in-app cohort router, published as `sluice/router`. */
export {
  createCohortRouter,
  type Assignment,
  type CohortRouter,
  type CohortRouterOptions,
  type Exchange,
  type RequestEnd,
  type RoutedRequest,
  type WeightSource,
} from './cohort-router';
export { expressCohortRouter, type ExpressMiddleware } from './express';
export { fastifyCohortRouter } from './fastify';
export { honoCohortRouter, type CanaryEnv, type CanaryVariables } from './hono';
export type { AdapterOptions } from './node-http';
export type { AdminRequest, AdminResponse } from './admin';
export type { AnonymousIdOptions } from './anonymous-id';
export type { TrustProxy } from './client-address';
export type { RouterClock } from './clock';
export { RouterConfigError, routerVariables, type Environment, type GuardOptions } from './config';
export { bucketOf, decide, type Decision, type DecisionReason, type DecisionSnapshot, type Subject } from './decide';
export { compareFence, formatFence, type FenceOrder } from './fence';
export type { RouterLogger } from './logger';
export { signOverride, type OverrideClaims } from './override-token';
export { PROMETHEUS_CONTENT_TYPE, type PrometheusRegistry } from './prometheus';
export * from './protocol';
export type { Snapshot } from './release-state';
