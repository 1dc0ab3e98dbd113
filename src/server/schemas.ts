import { z } from 'zod';
import type { SchemaMeta } from '../flags/flag';
import { whole } from '../flags/server/endpoint';
import { ServerDefaults } from './server-defaults';

/** The schemas of releases that the OpenAPI document names: what parses requests, and what answers are like. */
export const releaseSchemas = z.registry<SchemaMeta>();

const LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const LABEL_RULE = 'has 1 to 63 of a-z, 0-9 and "-", and begins and ends with a letter or digit';

export const Namespace = z
  .string()
  .regex(LABEL, `a namespace ${LABEL_RULE}`)
  .register(releaseSchemas, { id: 'ReleaseNamespace', example: 'shop' });
export const ServiceName = z
  .string()
  .regex(LABEL, `a service's name ${LABEL_RULE}`)
  .register(releaseSchemas, { id: 'ServiceName', example: 'checkout' });
const ReleaseId = z.string().regex(/^[a-zA-Z0-9._-]{1,128}$/, 'a release is named as `sluice list` does');
const Reason = z.string().min(1).max(ServerDefaults.maxReasonLength);
const OnConflict = z.enum(['reject', 'queue', 'supersede']);
const Version = z.string().min(1).max(ServerDefaults.maxVersionLength);

// ---- requests ----------------------------------------------------------------------------------------------

export const ListQuery = z.strictObject({
  limit: whole(1, ServerDefaults.maxListSize).default(ServerDefaults.listSize),
  namespace: Namespace.optional(),
  service: ServiceName.optional(),
  open: z.enum(['true', 'false']).optional(),
});

/** A certain release of the service; the current or last one when left out. */
export const ReleaseQuery = z.strictObject({ release: ReleaseId.optional() });

const startFields = {
  version: Version.optional(),
  image: Version.optional(),
  reason: Reason.optional(),
  onConflict: OnConflict.optional(),
};
/** The same as in the body, for a body that is the spec alone. */
export const StartQuery = z.strictObject(startFields);
export const StartRelease = z
  .strictObject({ spec: z.union([z.string().min(1), z.record(z.string(), z.unknown())]), ...startFields })
  .register(releaseSchemas, {
    id: 'StartRelease',
    description: 'A spec, as YAML in a text or as the object that it stands for, and what to release.',
  });

const messageFields = { reason: Reason.optional(), release: ReleaseId.optional() };
export const Message = z
  .strictObject(messageFields)
  .register(releaseSchemas, { id: 'ReleaseMessage', description: 'Refused unless `release` is the current one.' });
export const Decision = z
  .strictObject({ ...messageFields, step: z.int().min(0).max(999).optional() })
  .register(releaseSchemas, {
    id: 'ReleaseDecision',
    description: 'On the approval that waits; with `step` refused unless it is that of `approval.step` in the status.',
  });
export const RollBack = z.strictObject({ ...messageFields, abandon: z.boolean().optional() }).register(releaseSchemas, {
  id: 'RollBack',
  description: 'With `abandon`: give up what is left of a roll back that cannot finish. That needs admin.',
});
export const SetWeight = z
  .strictObject({ ...messageFields, weight: z.number().min(0).max(100) })
  .register(releaseSchemas, { id: 'SetWeight', description: 'Percent of the traffic.' });

// ---- answers -----------------------------------------------------------------------------------------------

const apiVersion = z.literal('sluice.dev/v1');
/** Epoch milliseconds. */
const Moment = z.number();
const Verdict = z.enum(['pass', 'fail', 'inconclusive', 'insufficient-data', 'error']);
const Outcome = z.enum(['promoted', 'cleanedUp', 'rolledBack', 'aborted', 'rejected', 'superseded', 'failed']);
const PHASES = [
  ...(['starting', 'deploying', 'smokeTesting', 'shifting', 'soaking', 'awaitingApproval', 'paused'] as const),
  ...(['promoting', 'cleaningUp', 'rollingBack', 'promoted', 'cleanedUp', 'rolledBack', 'failed'] as const),
] as const;

const Actor = z.object({
  name: z.string(),
  groups: z.array(z.string()).optional(),
  via: z.enum(['cli', 'ci', 'server', 'signal', 'workflow']),
});

const MetricVerdict = z.object({
  name: z.string(),
  unit: z.enum(['ratio', 'seconds', 'count']),
  verdict: Verdict,
  canary: z.number().nullable(),
  stable: z.number().nullable(),
  canaryRequests: z.number().nullable(),
  stableRequests: z.number().nullable(),
  limit: z.string(),
  sentence: z.string(),
  query: z.string(),
  stableQuery: z.string().optional(),
  evidence: z.record(z.string(), z.unknown()).optional(),
  dryRun: z.boolean().optional(),
  note: z.string().optional(),
});

export const Measurement = z
  .object({
    at: Moment,
    step: z.int(),
    weight: z.number(),
    observedShare: z.number().nullable(),
    verdict: Verdict,
    sentence: z.string(),
    metrics: z.array(MetricVerdict),
    routing: z.record(z.string(), z.unknown()).optional(),
    kayenta: z.record(z.string(), z.unknown()).optional(),
    simulated: z.boolean().optional(),
  })
  .register(releaseSchemas, { id: 'Measurement' });

export const StoryEvent = z
  .object({
    /** 1, 2, 3 … without a gap. */
    seq: z.int(),
    at: Moment,
    type: z.string(),
    message: z.string(),
    actor: Actor,
    step: z.int().optional(),
    weight: z.number(),
    evidence: Measurement.optional(),
  })
  .register(releaseSchemas, { id: 'ReleaseEvent', description: 'When, what, why with its evidence, and who.' });

const StepStatus = z.object({
  name: z.string(),
  kind: z.string(),
  state: z.enum(['pending', 'running', 'passed', 'failed', 'skipped']),
  startedAt: Moment.nullable(),
  endedAt: Moment.nullable(),
  sentence: z.string().nullable(),
  verdict: Verdict.nullable(),
  measurements: z.int(),
  evidence: Measurement.nullable(),
});

const ReleaseName = z.object({ release: z.string(), service: z.string(), namespace: z.string() });

export const StatusAnswer = ReleaseName.extend({
  apiVersion,
  kind: z.literal('ReleaseStatus'),
  workflowId: z.string(),
  runId: z.string(),
  target: z.enum(['kubernetes', 'router', 'flag']),
  version: z.object({ from: z.string().nullable(), to: z.string(), artifact: z.string().nullable() }),
  phase: z.enum(PHASES),
  outcome: Outcome.nullable(),
  /** One sentence about now. */
  message: z.string(),
  weight: z.number(),
  observedShare: z.number().nullable(),
  /** An index into `steps`; their number once they are over. */
  step: z.int(),
  steps: z.array(StepStatus),
  soak: z.object({ startedAt: Moment, endsAt: Moment, extended: z.boolean() }).nullable(),
  approval: z
    .object({
      step: z.int(),
      by: z.array(z.string()),
      since: Moment,
      expiresAt: Moment,
      onExpiry: z.enum(['rollback', 'pause', 'continue']),
    })
    .nullable(),
  paused: z
    .object({
      since: Moment,
      by: Actor,
      reason: z.string(),
      cause: z.enum(['person', 'failure', 'noData', 'approvalExpired', 'manualWeight', 'misrouted']),
    })
    .nullable(),
  keepOld: z.object({ since: Moment, until: Moment, version: z.string() }).nullish(),
  stuck: z.object({ since: Moment, message: z.string(), attempts: z.int() }).nullable(),
  compensations: z.array(z.record(z.string(), z.unknown())).optional(),
  successors: z.array(z.string()),
  measurements: z.array(Measurement),
  events: z.array(StoryEvent),
  startedAt: Moment,
  endedAt: Moment.nullable(),
  startedBy: Actor,
  reason: z.string().nullable(),
  planHash: z.string(),
  simulated: z.boolean(),
  /** It failed before it changed anything. */
  refused: z.literal(true).optional(),
}).register(releaseSchemas, { id: 'ReleaseStatus', description: 'The whole state of a release.' });

export const ListAnswer = z
  .object({
    apiVersion,
    kind: z.literal('ReleaseList'),
    items: z.array(
      ReleaseName.extend({
        version: z.string(),
        phase: z.enum([...PHASES, 'queued']),
        outcome: Outcome.nullable(),
        weight: z.number(),
        startedAt: Moment,
        endedAt: Moment.nullable(),
        workflowId: z.string(),
        runId: z.string().nullable(),
        /** Its metrics are a script's. */
        simulated: z.literal(true).optional(),
        /** It failed before it changed anything. */
        refused: z.literal(true).optional(),
      }),
    ),
    /** There are older ones than these. */
    more: z.boolean(),
  })
  .register(releaseSchemas, { id: 'ReleaseList', description: 'Newest first.' });

export const HistoryAnswer = ReleaseName.extend({
  apiVersion,
  kind: z.literal('ReleaseHistory'),
  simulated: z.boolean(),
  items: z.array(StoryEvent),
}).register(releaseSchemas, { id: 'ReleaseHistory', description: 'The story of a release, oldest first.' });

export const StartAnswer = ReleaseName.extend({
  apiVersion,
  kind: z.literal('Deployment'),
  version: z.string(),
  workflowId: z.string(),
  state: z.enum(['started', 'queued']),
  /** The release that it waits for. */
  behind: z.string().nullable(),
  /** That one only keeps the old version, which it gives up now. */
  endsKeeping: z.literal(true).optional(),
}).register(releaseSchemas, { id: 'Deployment' });

export const AckAnswer = ReleaseName.extend({
  apiVersion,
  kind: z.literal('MessageAck'),
  /** The last event of the story by then; 0 where it is kept until a worker comes. */
  seq: z.int(),
  /** What was recorded. */
  message: z.string(),
  /** The metrics of the release are a script's. */
  simulated: z.literal(true).optional(),
}).register(releaseSchemas, { id: 'MessageAck' });
