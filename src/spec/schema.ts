import { z } from 'zod';
import {
  BOUNDS,
  DEFAULTS,
  FLAGS_TOKEN_ENV,
  FLAGS_URL_ENV,
  HTTP_METRICS_HOSTS_ENV,
  HTTP_METRICS_TOKEN_ENV,
  PROMETHEUS_TOKEN_ENV,
  ROUTER_OVERRIDE_SECRET_ENV,
  ROUTER_TOKEN_ENV,
} from './defaults';
import { choice, decimal, duration, found, httpUrl, list, mapping, oneOf, orFalse, text, wholeNumber } from './fields';
import { PRESET_NAMES } from './presets';

/**
 * release.yaml, key by key. The one source of validation, defaults, the JSON Schema that editors complete from and the
 * tables of docs/spec.md. Durations are milliseconds once parsed; what concerns several keys at once is in `checks.ts`.
 */

const dnsLabel = text({
  pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
  maxLength: 63,
  allowed:
    'a DNS-1123 label: lower-case letters, digits and "-", at most 63, beginning and ending with a letter or digit',
});

const dnsSubdomain = text({
  pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
  maxLength: 253,
  allowed: 'a DNS-1123 name: lower-case letters, digits, "-" and ".", at most 253',
});

const flagKey = text({
  pattern: /^[a-z0-9][a-z0-9._-]*$/,
  maxLength: 128,
  allowed: 'lower-case letters, digits, ".", "_" and "-", at most 128, beginning with a letter or digit',
});

/** As the flag service names environments; its flags and this have to be able to say the same. */
const flagEnvironment = text({
  pattern: /^[a-zA-Z0-9][a-zA-Z0-9._-]*$/,
  maxLength: 64,
  allowed: 'letters, digits, ".", "_" and "-", at most 64, beginning with a letter or digit',
});

function environmentVariable(prefix: string): z.ZodString {
  return text({
    pattern: new RegExp(`^${prefix}(_[A-Z0-9_]+)?$`),
    maxLength: 128,
    allowed: `the name of an environment variable of the worker, ${prefix} or ${prefix}_<SUFFIX>; never a secret itself`,
    secretive: true,
  });
}

function refuseTwins(instances: readonly string[], context: z.RefinementCtx): void {
  for (const [index, instance] of instances.entries()) {
    if (instances.indexOf(instance) === index) continue;
    context.addIssue({
      code: 'custom',
      path: [index],
      message: `${found(instance)} is given twice. Allowed: each instance once.`,
    });
  }
}

const router = mapping('target.router', {
  instances: list(httpUrl(), { what: 'addresses', bounds: BOUNDS.instances })
    .superRefine(refuseTwins)
    .describe(
      'Admin addresses of the instances of the app that carries the router. All of them reach a weight, or none keeps it.',
    ),
  tokenEnv: environmentVariable(ROUTER_TOKEN_ENV)
    .default(ROUTER_TOKEN_ENV)
    .describe("Which of the worker's environment variables holds the token of the admin endpoints."),
  overrideSecretEnv: environmentVariable(ROUTER_OVERRIDE_SECRET_ENV)
    .default(ROUTER_OVERRIDE_SECRET_ENV)
    .describe(
      "Which of the worker's environment variables holds the secret that signs override tokens; the smoke test reaches the canary with one.",
    ),
}).describe('An app that carries the in-app cohort router.');

/** One name, or a list of several; a list once parsed. */
function names(what: string): z.ZodType<readonly string[], string | string[]> {
  const several = list(dnsSubdomain, { what: 'names', bounds: BOUNDS.routes });
  return z
    .union([dnsSubdomain, several], {
      error: (issue) => `${found(issue.input)} is not allowed here. Allowed: the name of ${what}, or a list of names.`,
    })
    .transform((given) => (typeof given === 'string' ? [given] : given))
    .meta({ $comment: `name of ${what}, or a list of names` });
}

const traffic = oneOf('target.kubernetes.traffic', {
  gatewayAPI: mapping('traffic.gatewayAPI', {
    httpRoute: names('an HTTPRoute').optional().describe('The HTTPRoutes whose backend weights are set.'),
    grpcRoute: names('a GRPCRoute').optional().describe('The GRPCRoutes whose backend weights are set.'),
  })
    .superRefine((routes, context) => {
      if (routes.httpRoute !== undefined || routes.grpcRoute !== undefined) return;
      const message = 'no route is named. Allowed: httpRoute, grpcRoute or both.';
      context.addIssue({ code: 'custom', message, params: { absence: true } });
    })
    .meta({ title: 'traffic.gatewayAPI', minProperties: 1 })
    .optional()
    .describe('Backend weights of routes of the Gateway API.'),
  nginx: mapping('traffic.nginx', {
    ingress: names('an Ingress').describe('The stable Ingresses; a canary twin is made beside each.'),
  })
    .optional()
    .describe('Canary annotations of the NGINX ingress controller.'),
  traefik: mapping('traffic.traefik', {
    traefikService: dnsSubdomain.describe('The weighted TraefikService whose weights are set.'),
  })
    .optional()
    .describe('Weights of a TraefikService.'),
  istio: mapping('traffic.istio', {
    virtualService: dnsSubdomain.describe('The VirtualService whose route weights are set.'),
  })
    .optional()
    .describe('Route weights of an Istio VirtualService.'),
  serviceSelector: mapping('traffic.serviceSelector', {})
    .optional()
    .describe('The selector of the Service itself, in one write: 0 or 100 % and nothing between.'),
  replicas: mapping('traffic.replicas', {})
    .optional()
    .describe(
      'Nobody splits: the Service selects the pods of both tracks, and shares follow their number. Only for strategy canary.',
    ),
}).describe('Who splits the traffic; exactly one. Not guessed, since a wrong guess sends users to the wrong place.');

const kubernetes = mapping('target.kubernetes', {
  deployment: dnsLabel.describe(
    'The stable Deployment; the canary Deployment is this name with -canary. For blueGreen: the two are this name with -blue and -green.',
  ),
  service: dnsLabel.describe(
    'The Service that users reach the pods by; the canary has its own, this name with -canary.',
  ),
  strategy: choice(['canary', 'blueGreen'])
    .default('canary')
    .describe(
      'canary moves traffic weight by weight; blueGreen brings the new version up whole, tests it, and then switches the Service to it in one write.',
    ),
  traffic,
  container: dnsLabel
    .optional()
    .describe('The container that gets the image. Default: the only one, or the one named like the Deployment.'),
  port: wholeNumber(BOUNDS.port)
    .optional()
    .describe(
      'Port of the Service that the smoke test asks. Default: the one named http, or the only one where that has no name.',
    ),
  resolveImage: choice(['registry', 'never'])
    .default(DEFAULTS.kubernetes.resolveImage)
    .describe(
      'registry asks for the digest of a tag once, at the start, and that digest is what runs, with the tag beside it for people; never takes the image as it is given.',
    ),
  config: choice(['keep', 'snapshot'])
    .default(DEFAULTS.kubernetes.config)
    .describe(
      'snapshot gives the new version immutable copies of the ConfigMaps and Secrets its pods name, so that they are taken back with it; needs the right to read them.',
    ),
  drain: duration(BOUNDS.drain)
    .prefault(DEFAULTS.kubernetes.drain)
    .describe('How long pods without traffic are kept, so that requests under way end and routes that lag find them.'),
  keepOld: duration(BOUNDS.keepOld)
    .prefault(DEFAULTS.kubernetes.keepOld)
    .describe(
      'For blueGreen: how long the old version is kept after the promotion, so that the way back is one write.',
    ),
  onForeignEdit: choice(['reassert', 'rollback'])
    .default(DEFAULTS.kubernetes.onForeignEdit)
    .describe("What follows when somebody else changed the release's objects: put right and told, or back."),
}).describe('A Deployment in a Kubernetes cluster.');

const flag = mapping('target.flag', {
  name: flagKey.describe("The flag's key."),
  environment: flagEnvironment.describe(
    'The environment whose users are to get it; the flag has to be on there. Its one percentage counts in all of its environments.',
  ),
  urlEnv: environmentVariable(FLAGS_URL_ENV)
    .default(FLAGS_URL_ENV)
    .describe("Which of the worker's environment variables holds the address of the flag service."),
  tokenEnv: environmentVariable(FLAGS_TOKEN_ENV)
    .default(FLAGS_TOKEN_ENV)
    .describe("Which of the worker's environment variables holds an API key of it. None is sent where it is not set."),
}).describe('A feature flag whose percentage is the weight.');

const target = oneOf('spec.target', {
  kubernetes: kubernetes.optional(),
  router: router.optional(),
  flag: flag.optional(),
}).describe('What the release changes; exactly one.');

const smokeTest = mapping('spec.smokeTest', {
  path: text({ pattern: /^\/[^\s#]*$/, maxLength: 2_000, allowed: 'a path that begins with "/"' }).describe(
    'Path asked of the new version before any user reaches it.',
  ),
  expectStatus: wholeNumber([200, 599])
    .default(DEFAULTS.smokeTest.expectStatus)
    .describe('Status the answer must have; of a redirect its own, for it is not followed.'),
  expectBody: text({ pattern: /^[\s\S]+$/, maxLength: 1_000, allowed: 'text of 1 to 1000 characters' })
    .optional()
    .describe("Text that the answer's body must contain. Any body will do when left out."),
  attempts: wholeNumber(BOUNDS.smokeAttempts)
    .default(DEFAULTS.smokeTest.attempts)
    .describe('Tries before the smoke test has failed.'),
  interval: duration(BOUNDS.smokeInterval).prefault(DEFAULTS.smokeTest.interval).describe('Between two tries.'),
  timeout: duration(BOUNDS.smokeTimeout).prefault(DEFAULTS.smokeTest.timeout).describe('Of one try.'),
});

const approve = mapping('approve', {
  by: list(text({ pattern: /^\S(.*\S)?$/, maxLength: 128, allowed: 'a name or group of 1 to 128 characters' }), {
    what: 'names or groups',
    bounds: [0, 50],
  })
    .default([])
    .describe('Names or groups of those who may approve. Empty: anyone who says who they are.'),
  timeout: duration(BOUNDS.approvalTimeout)
    .prefault(DEFAULTS.approve.timeout)
    .describe('How long the question stays open. The weight is held meanwhile.'),
  onExpiry: choice(['rollback', 'pause', 'continue'])
    .default(DEFAULTS.approve.onExpiry)
    .describe('What happens when nobody answered: back, hold for a person, or on without approval.'),
}).describe('Waits for a person before the next step.');

const weightError = (issue: { input?: unknown }): string =>
  `${found(issue.input)} is not allowed here. Allowed: a whole percentage from 1 to 100, as 25 or 25%.`;

const weight = z
  .union(
    [
      z.int({ error: weightError }).min(1, { error: weightError }).max(100, { error: weightError }),
      z.string().regex(/^([1-9]\d?|100)%$/, { error: weightError }),
    ],
    { error: weightError },
  )
  .transform((value) => (typeof value === 'number' ? value : Number(value.slice(0, -1))))
  .meta({ $comment: 'whole percentage, 1 to 100, as 25 or 25%' })
  .describe('Percent of traffic that the new version gets. Must rise from step to step; the last one is 100.');

const headerOrCookieName = text({
  pattern: /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/,
  maxLength: 128,
  allowed: 'a name of 1 to 128 characters, without spaces and separators',
});

const headerAndValue = z
  .record(
    headerOrCookieName,
    text({ pattern: /^[\x20-\x7e]+$/, maxLength: 256, allowed: 'printable ASCII in quotes, 1 to 256 characters' }),
  )
  .refine((headers) => Object.keys(headers).length === 1, {
    error: 'there must be exactly one header. Allowed: one header and its value, { x-canary: "true" }.',
  })
  .meta({ $comment: 'one header and its value', minProperties: 1, maxProperties: 1 });

const match = oneOf('match', {
  header: z
    .union([headerAndValue, headerOrCookieName], {
      error: (issue) =>
        `${found(issue.input)} is not allowed here. Allowed: one header and its value, { x-canary: "true" }, or the name of a header, x-canary.`,
    })
    .meta({ $comment: 'one header and its value, or the name of a header' })
    .optional()
    .describe(
      'Requests with this header and value get the new version. By its name alone, as only NGINX can: requests with the value "always" do, and those with "never" do not.',
    ),
  cookie: headerOrCookieName.optional().describe('Requests with this cookie, of value "always", get the new version.'),
}).describe('Sends requests that are marked to the new version, whatever the weight. Before the first weight.');

/** One step: a weight with its soak, a match, or an approval. */
export const stepSchema = mapping('a step', {
  weight: weight.optional(),
  soak: duration(BOUNDS.soak)
    .optional()
    .describe(`How long the weight is held while it is analysed. Default: ${DEFAULTS.soak}.`)
    .meta({ usually: DEFAULTS.soak }),
  match: match.optional(),
  approve: approve.optional(),
})
  .superRefine((step, context) => {
    const message = stepProblem(step);
    const absence = kindsOf(step).length === 0;
    if (message !== null) context.addIssue({ code: 'custom', message, params: { absence } });
  })
  .meta({
    title: 'a step',
    oneOf: [
      { required: ['weight'] },
      { required: ['match'], not: { required: ['soak'] } },
      { required: ['approve'], not: { required: ['soak'] } },
    ],
  });

interface RawStep {
  readonly weight?: unknown;
  readonly soak?: unknown;
  readonly match?: unknown;
  readonly approve?: unknown;
}

function kindsOf(step: RawStep): string[] {
  return (['weight', 'match', 'approve'] as const).filter((kind) => step[kind] !== undefined);
}

function stepProblem(step: RawStep): string | null {
  const allowed = 'Allowed: either weight and soak, or match, or approve.';
  const kinds = kindsOf(step);
  if (kinds.length === 0) return `the step has neither weight, match nor approve. ${allowed}`;
  if (kinds.length > 1) return `${kinds.join(' and ')} are given together. ${allowed}`;
  if (step.weight === undefined && step.soak !== undefined)
    return `soak and ${kinds[0] ?? ''} are given together. ${allowed}`;
  return null;
}

const prometheus = mapping('source.prometheus', {
  url: httpUrl().describe('Base address of a Prometheus, or of anything with its query API. Redirects are refused.'),
  tokenEnv: environmentVariable(PROMETHEUS_TOKEN_ENV)
    .optional()
    .describe("Which of the worker's environment variables holds a bearer token. None is sent when left out."),
  timeout: duration(BOUNDS.prometheusTimeout)
    .prefault(DEFAULTS.analysis.prometheusTimeout)
    .describe('Of one query. Later is an error of the backend, not evidence against the canary.'),
  labels: z
    .record(
      text({ pattern: /^[a-zA-Z_][a-zA-Z0-9_]*$/, maxLength: 100, allowed: 'the name of a label' }),
      text({
        pattern: /^[^{}"\\\r\n]+$/,
        maxLength: 200,
        allowed: 'text without braces, quotes, backslashes or line breaks',
      }),
      {
        error: (issue) =>
          `${found(issue.input)} is not allowed here. Allowed: a mapping of labels to values, { job: shop }.`,
      },
    )
    .default({})
    .meta({ $comment: 'labels and their values' })
    .describe(
      "Further label matchers of the preset's queries, for example { job: shop }. Your own queries are left as they are.",
    ),
}).describe('Instant queries to a Prometheus.');

const http = mapping('source.http', {
  tokenEnv: environmentVariable(HTTP_METRICS_TOKEN_ENV)
    .optional()
    .describe("Which of the worker's environment variables holds a bearer token. None is sent when left out."),
  timeout: duration(BOUNDS.prometheusTimeout)
    .prefault(DEFAULTS.analysis.prometheusTimeout)
    .describe('Of one answer. Later is an error of the backend, not evidence against the canary.'),
}).describe(
  `Any server that answers JSON: each metric says its own address. Only hosts that the worker's ${HTTP_METRICS_HOSTS_ENV} allows; thresholds only.`,
);

const source = oneOf('analysis.source', {
  router: mapping('source.router', {})
    .optional()
    .describe("The in-app router's own counters. Only for a router target."),
  flag: mapping('source.flag', {})
    .optional()
    .describe('The outcomes that were posted to the flag service. Only for a flag target.'),
  prometheus: prometheus.optional(),
  http: http.optional(),
}).describe(
  'Where measurements come from; exactly one. Default for a router target: its own counters; for a flag: the outcomes that were posted.',
);

const limitError = (issue: { input?: unknown }): string =>
  `${found(issue.input)} is not a limit. Allowed: a percentage (5%), a duration (1s) or a number, as the metric's unit asks for.`;

const limit = (description: string): z.ZodOptional<z.ZodUnion<readonly [z.ZodNumber, z.ZodString]>> =>
  z
    .union([z.number({ error: limitError }), z.string().max(40, { error: limitError })], { error: limitError })
    .meta({ $comment: "limit in the metric's unit" })
    .optional()
    .describe(description);

const query = (description: string): z.ZodOptional<z.ZodString> =>
  text({ pattern: /\S/, maxLength: BOUNDS.query, allowed: `PromQL of 1 to ${BOUNDS.query} characters` })
    .optional()
    .describe(description);

const booleanError = (issue: { input?: unknown }): string =>
  `${found(issue.input)} is not allowed here. Allowed: true or false.`;

const jsonPath = (description: string): z.ZodString =>
  text({
    pattern: /^\$/,
    maxLength: BOUNDS.jsonPath,
    allowed: `a JSONPath that begins with $, at most ${BOUNDS.jsonPath} characters`,
  }).describe(description);

/** What a metric of the source http asks. */
const metricHttp = mapping('a metric.http', {
  url: text({
    pattern: /^https?:\/\//i,
    maxLength: BOUNDS.query,
    allowed: 'an http:// or https:// address',
  }).describe(
    'Address of a JSON document about one track. Placeholders in its path and query: {{service}}, {{namespace}}, {{track}}, {{version}}, {{window}}, and the window’s {{start}} and {{end}} in Unix seconds; percent-encoded.',
  ),
  value: jsonPath('Where in the document the value is: JSONPath (RFC 9535) to one number.'),
  requests: jsonPath('Where the requests behind it are, held against minRequests. Left out: not checked.').optional(),
}).describe('Your own value from the source http.');

/** One metric and its limits. */
export const metricSchema = mapping('a metric', {
  name: text({
    pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/,
    maxLength: 63,
    allowed: 'lower-case letters, digits and "-", at most 63',
  }).describe(
    "The preset's name of the metric (error-rate, p50-latency, p95-latency, p99-latency, requests), or your own.",
  ),
  max: limit(
    'The canary fails above. In the unit of the metric: 5% for a ratio, 250ms or 1s for seconds, 12 for a count.',
  ),
  min: limit('The canary fails below.'),
  maxRatio: decimal(BOUNDS.maxRatio)
    .optional()
    .describe(
      "The canary fails above this many times stable's value. Noisy on small counts; compare is the better test of ratios.",
    ),
  numerator: query('Your own ratio: PromQL of the bad events. No series counts as zero while the denominator has one.'),
  denominator: query('Your own ratio: PromQL of all events.'),
  bad: query(
    'Your own events, counted exactly: PromQL of the counters of bad events, an instant vector without {{window}}. No series counts as zero.',
  ),
  total: query('Your own events, counted exactly: PromQL of the counters of all events, by the same targets as bad.'),
  query: query(
    'Your own value: PromQL that answers one number. Placeholders: {{service}}, {{namespace}}, {{track}}, {{version}} within quotes, and {{window}}.',
  ),
  requests: query(
    'For your own value: PromQL of the requests behind it, held against minRequests. Left out: not checked.',
  ),
  buckets: query(
    'For your own value in seconds: PromQL of the buckets of its histogram (with le, or a native one), an instant vector without {{window}}; compared with stable.',
  ),
  http: metricHttp.optional(),
  unit: choice(['ratio', 'seconds', 'count'])
    .optional()
    .describe('Unit of your own value. A numerator with a denominator, and bad of total, are a ratio.'),
  objective: limit(
    "The share of the canary's events that may be bad at all, as 0.5%, or of its requests that may be slower than max: held against the counts of the whole release, also where no stable traffic is left.",
  ),
  dryRun: z.boolean({ error: booleanError }).default(false).describe('Judged and shown, and never acted on.'),
  critical: z
    .boolean({ error: booleanError })
    .default(false)
    .describe('One failed measurement of it fails the step, whatever failureLimit tolerates.'),
  note: text({ pattern: /^\S(.*\S)?$/, maxLength: 200, allowed: 'one line of 1 to 200 characters' })
    .optional()
    .describe('Shown with its verdicts: what it means, whom to ask, where the runbook is.'),
});

const compare = mapping('analysis.compare', {
  alpha: decimal(BOUNDS.alpha)
    .default(DEFAULTS.analysis.compare.alpha)
    .describe(
      'Probability that a healthy version is ever failed by it: by all metrics of the whole release together, the hand-back of its traffic included, however often is looked (docs/analysis.md).',
    ),
  tolerate: decimal(BOUNDS.tolerate)
    .default(DEFAULTS.analysis.compare.tolerate)
    .describe('The canary may be that many times as bad as stable.'),
  clusters: decimal(BOUNDS.clusters)
    .default(DEFAULTS.analysis.evidence.clusters)
    .describe('How many bad events may have one and the same cause; the evidence is divided by it.'),
});

const promotion = mapping('analysis.promotion', {
  exclude: decimal(BOUNDS.exclude)
    .default(DEFAULTS.analysis.promotion.exclude)
    .describe('The soak ends once it is proven that the canary has less than this many times stable’s bad events.'),
  beta: decimal(BOUNDS.alpha)
    .default(DEFAULTS.analysis.promotion.beta)
    .describe('Probability that a canary which is that bad is taken for proven, at one weight.'),
});

const onNoData = mapping('analysis.onNoData', {
  extend: duration(BOUNDS.extend)
    .prefault(DEFAULTS.analysis.onNoData.extend)
    .describe('How much longer the weight is held when a soak ended without enough valid measurements.'),
  then: choice(['pause', 'rollback', 'promote'])
    .default(DEFAULTS.analysis.onNoData.then)
    .describe(
      'What follows when that did not help. promote goes on without evidence, for services with hardly any traffic: only where there was too little of it, never after an error.',
    ),
});

/** Of somebody else's making: `kayenta-config.ts` checks what is in it. */
const kayenta = z
  .record(z.string(), z.unknown(), {
    error: (issue) => `${found(issue.input)} is not allowed here. Allowed: a canary config of Kayenta, as its JSON.`,
  })
  .meta({ $comment: 'a canary config of Kayenta, as its JSON' });

const a = DEFAULTS.analysis;

/** The analysis as it is written; what depends on the target and the steps is filled in by `resolveAnalysis`. */
export const analysisSchema = mapping('spec.analysis', {
  source: source.optional(),
  interval: duration(BOUNDS.interval)
    .optional()
    .describe(
      `Between two measurements; at most the shortest soak. Default: ${a.interval}, or the shortest soak where that is shorter.`,
    )
    .meta({ usually: a.interval }),
  initialDelay: duration(BOUNDS.initialDelay)
    .prefault(a.initialDelay)
    .describe('From a weight change to the first measurement that counts.'),
  lag: duration(BOUNDS.lag)
    .prefault(a.lag)
    .describe(
      'How late the samples of the source arrive at most: every query is asked as of that long before the look. Only for prometheus, and for http with {{end}}.',
    ),
  window: duration(BOUNDS.window)
    .prefault(a.window)
    .describe(
      'How far a measurement looks back; never past the last weight change. With Prometheus: at least four scrape intervals.',
    ),
  minMeasurements: wholeNumber(BOUNDS.minMeasurements)
    .optional()
    .describe(
      `A step passes only with this many valid measurements. Default: ${a.minMeasurements}, or what the shortest soak has room for.`,
    )
    .meta({ usually: a.minMeasurements }),
  minRequests: wholeNumber(BOUNDS.minRequests)
    .default(a.minRequests)
    .describe('Requests the canary must have had in the window for a measurement to be valid.'),
  failureLimit: wholeNumber(BOUNDS.failureLimit)
    .default(a.failureLimit)
    .describe('Failed measurements a step tolerates; one more fails it.'),
  consecutiveErrorLimit: wholeNumber(BOUNDS.consecutiveErrorLimit)
    .default(a.consecutiveErrorLimit)
    .describe('Errors of the metrics backend in a row that are tolerated; one more ends the wait as onNoData says.'),
  onNoData: onNoData.prefault({}).describe('When a soak ends without enough valid measurements.'),
  preset: choice(PRESET_NAMES)
    .optional()
    .describe(
      'Which ready-made metrics the names below refer to. Default: router for a router target, flag for a flag, http otherwise.',
    ),
  metrics: list(metricSchema, { what: 'metrics', bounds: BOUNDS.metrics })
    .optional()
    .describe('What is measured: exactly these. Default: error-rate at most 5% and p95-latency at most 1s.'),
  compare: orFalse(compare)
    .prefault({})
    .describe('Comparison with stable: bad events and slow requests of both are counted; false switches it off.'),
  until: choice(['soak', 'evidence'])
    .default(a.until)
    .describe('evidence: a soak may end before its time, as soon as it is proven that the canary is good enough.'),
  promotion: promotion.optional().describe('What is proven then. Only with until: evidence.'),
  kayenta: kayenta
    .optional()
    .describe(
      "Kayenta's judge beside all of that, asked at the end of each soak about a value of each look. Needs a window as long as the interval.",
    ),
  routingCheck: choice(['off', 'warn', 'pause', 'rollback'])
    .default(a.routingCheck)
    .describe(
      'When the canary does not get the share of requests that its weight asks for: tell it, hold for a person, or back. off does not look.',
    ),
});

const notify = mapping('spec.notify', {
  slack: mapping('notify.slack', {
    channel: text({
      pattern: /^(#[^\s#@,]{1,80}|[CG][A-Z0-9]{6,20})$/,
      maxLength: 81,
      allowed: 'a channel, "#deploys" in quotes, or its id',
    }).describe(
      'Where the release is told about, in one message that is edited as it goes. Quote it: # begins a comment in YAML.',
    ),
  })
    .optional()
    .describe('A failing Slack never holds a release up.'),
});

/** The list of steps as it is written. */
export const stepsSchema = list(stepSchema, { what: 'steps', bounds: BOUNDS.steps });

/** A whole release.yaml. */
export const releaseSchema = mapping('the document', {
  apiVersion: choice(['sluice.dev/v1']).describe('Version of this format.'),
  kind: choice(['Release']).describe('What the document is.'),
  metadata: mapping('metadata', {
    name: dnsLabel.describe('Name of the service. One release of it runs at a time.'),
    namespace: dnsLabel
      .default(DEFAULTS.namespace)
      .describe('Namespace of the service; for Kubernetes, the cluster namespace.'),
  }).describe('Which service this is.'),
  spec: mapping('spec', {
    target,
    deployTimeout: duration(BOUNDS.deployTimeout)
      .prefault(DEFAULTS.deployTimeout)
      .describe('How long the new version may take to be ready, at the start and again at promotion.'),
    smokeTest: orFalse(smokeTest)
      .default(false)
      .describe('A first request to the new version, before any user; false for none.'),
    steps: stepsSchema
      .optional()
      .describe('Weights and approvals, in order. Default: 5, 25, 50, 100 with 60s each; for blueGreen 100 with 60s.'),
    analysis: analysisSchema
      .optional()
      .describe(
        'What is measured after each weight, and when it is too much. May be left out only for a router target and for a flag.',
      ),
    onFailure: choice(['rollback', 'pause'])
      .default(DEFAULTS.onFailure)
      .describe('After a failing verdict: back by itself, or hold for a person. Nothing raises the weight meanwhile.'),
    onConflict: choice(['reject', 'queue', 'supersede'])
      .default(DEFAULTS.onConflict)
      .describe(
        'When another release of the service runs: refuse this one, let it wait, or roll the other one back first.',
      ),
    notify: notify.prefault({}).describe('Who is told.'),
  }).describe('How the service is released.'),
}).meta({ title: 'the document', description: 'How a service is released by Sluice.' });

/** A validated release.yaml: defaults filled in, durations in milliseconds. */
export type ReleaseSpec = z.output<typeof releaseSchema>;
export type AnalysisSpec = z.output<typeof analysisSchema>;
export type MetricSpec = z.output<typeof metricSchema>;
export type StepSpec = z.output<typeof stepSchema>;
export type TargetSpec = ReleaseSpec['spec']['target'];
