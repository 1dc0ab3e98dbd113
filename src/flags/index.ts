/** Feature flags, published as `sluice/flags`: asked in this process, by OpenFeature, or over the service's endpoints. */
export {
  createFlagClient,
  type FlagClient,
  type FlagClientCommonOptions,
  type FlagClientOptions,
  type FlagsFromService,
  type FlagsFromStore,
  type ReportedOutcome,
} from './client/flag-client';
export {
  FlagServiceClient,
  FlagServiceError,
  type AskOptions,
  type FlagServiceClientOptions,
  type FlagUpdate,
  type ListEntry,
  type NewFlag,
  type NewOutcomes,
  type Question,
  type Rollout,
  type WriteOptions,
} from './client/flag-service-client';
export { flagWeight, type FlagWeight } from './client/flag-weight';
export { OutcomeReporter, type OutcomeReporterOptions, type OutcomeToReport } from './client/outcome-reporter';
export { createFlagProvider, type FlagProviderOptions } from './client/openfeature-provider';
export type {
  AuditPage,
  CheckAnswer,
  Explanation,
  FlagAnswer,
  FlagPage,
  KeyAnswer,
  OutcomesAccepted,
  OutcomesAnswer,
  RulesetAnswer,
  StatsAnswer,
} from './answers';
export { flagBucket } from './bucket';
export type { Checked } from './checks';
export type { Evaluation, FlagReason, FlagRule } from './evaluate';
export { FLAG_NAME_RULE, flagNameProblem, type FlagDocument, type FlagFence, type VariantValue } from './flag';
export { consoleFlagLogger, type FlagLogger } from './logger';
export { MemoryFlagStore } from './memory-store';
export { openRedisFlagStore, type RedisFlagStoreOptions } from './redis-store';
export type { RulesetState } from './ruleset';
export { openSqliteFlagStore } from './sqlite-store';
export { StoreUnavailable, type FlagStore } from './store';
