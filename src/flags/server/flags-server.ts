import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { isIP } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler, RouteOptions } from 'fastify';
import { messageOf, ReleaseError } from '../../errors';
import { Access, requireFlagReader } from '../access';
import type { AccessOptions, Principal } from '../access';
import { FlagChecks } from '../checks';
import { FlagDefaults } from '../defaults';
import { flagSchemas } from '../flag';
import { FlagService } from '../flag-service';
import type { WriteRequest } from '../flag-service';
import type { FlagLogger } from '../logger';
import { OutcomeRecorder } from '../outcome-recorder';
import { OutcomeService } from '../outcome-service';
import { FlagProblem } from '../problem';
import type { Problem } from '../problem';
import { Ruleset } from '../ruleset';
import type { FlagStore } from '../store';
import { UsageRecorder } from '../usage';
import { flagEndpoints } from './api';
import type { Beside } from './beside';
import { carryOut } from './endpoint';
import type { Answer, Endpoint } from './endpoint';
import { EventStreams } from './event-streams';
import { HotPath, HotRequest } from './hot-path';
import type { HotRoute } from './hot-path';
import {
  codeOf,
  isLoopback,
  JSON_TYPE,
  notJsonType,
  parseJsonBody,
  problemAnswer,
  problemOf,
  refuseStranger,
  unreadablePath,
} from './http';
import { flagMetricsText, METRICS_CONTENT_TYPE } from './metrics-text';
import { catchUpWith, evaluateAll, evaluateOne, keyOfPath, OFREP, ofrepProblem, rulesetVersion } from './ofrep';
import type { DisabledBehavior, OfrepParts } from './ofrep';
import { openApiDocument } from './openapi';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, once that is known: before a body is read. */
    flagPrincipal: Principal | null;
    /** Why it was refused. */
    flagProblem: Problem | null;
    /** What its endpoint noted for the audit. */
    flagNotes: Readonly<Record<string, unknown>> | null;
  }

  interface FastifyContextConfig {
    readonly endpoint?: Endpoint;
  }
}

export interface FlagsServerOptions {
  readonly store: FlagStore;
  /** Closed with the server. */
  readonly access: AccessOptions;
  readonly logger: FlagLogger;
  /** Default 0: any free one. */
  readonly port?: number;
  /** Default 127.0.0.1; any other needs keys. */
  readonly host?: string;
  /** The environment of checks that name none; default production. */
  readonly environment?: string;
  readonly disabledBehavior?: DisabledBehavior;
  /** Every change has to say which state it was made from; default false. */
  readonly requireIfMatch?: boolean;
  /** Origins of pages that may ask by OFREP; default all. */
  readonly corsOrigins?: readonly string[];
  /** For the OpenAPI document. */
  readonly version?: string;
  readonly now?: () => number;
  /** Served by the same server. */
  readonly beside?: Beside;
}

/** A flag service that listens. */
export interface FlagsServer {
  readonly url: string;
  readonly ruleset: Ruleset;
  /** Nobody needs a key, and nobody but this machine reaches it. */
  readonly open: boolean;
  /** Finishes what is under way, writes the last usage, closes the store. */
  close(): Promise<void>;
}

/** Starts the flag service. Flags that cannot be loaded yet are off; it loads them as soon as the store answers. */
export async function startFlagsServer(options: FlagsServerOptions): Promise<FlagsServer> {
  const { store, logger, beside } = options;
  const name = beside === undefined ? 'the flag service' : 'the server';
  const host = options.host ?? '127.0.0.1';
  const access = new Access(options.access);
  if (access.open && !isLoopback(host)) {
    throw new ReleaseError('usage', `Without a key ${name} listens on loopback only, and not on ${host}.`, {
      hint: 'Set SLUICE_API_KEY, or give --keys or --jwks-url; or leave --host out.',
    });
  }
  const now = options.now ?? Date.now;
  const ruleset = new Ruleset({ source: store, logger });
  const usage = new UsageRecorder({ store, logger, now });
  const checks = new FlagChecks(ruleset, usage);
  const service = new FlagService({ store, ruleset, requireIfMatch: options.requireIfMatch ?? false, now });
  const environment = options.environment ?? FlagDefaults.environment;
  const recorder = new OutcomeRecorder({ store, logger });
  const outcomes = new OutcomeService({ service, ruleset, store, recorder, environment });
  const ofrep: OfrepParts = {
    checks,
    access,
    environment,
    disabledBehavior: options.disabledBehavior ?? 'off',
    now,
  };
  const streams = new EventStreams(ruleset, () => ({
    version: rulesetVersion(ofrep),
    revision: ruleset.head?.revision ?? 0,
  }));
  const endpoints = flagEndpoints({ service, checks, store, usage, outcomes, environment, now });

  const cors: Cors = ({ origin }) => corsHeaders(origin, options.corsOrigins ?? null);
  const hot = new HotPath({
    access,
    logger,
    routes: [...endpoints.filter((one) => one.hot).map(hotEndpoint), hotEvaluation(ofrep, cors)],
  });
  const app = createApp(logger, hot);
  app.addHook('onRequest', (request, _reply, done) => {
    refuseStranger(access, request.url, request.headers);
    done();
  });
  if (beside !== undefined) addAudit(app, beside.audit);
  addHealth(app, { store, ruleset, beside });
  addEndpoints(app, access, [...endpoints, ...(beside?.api.endpoints ?? [])]);
  const flagsApi = { endpoints, schemas: flagSchemas, parameters: FLAG_PARAMETERS, problems: {} };
  const document = JSON.stringify(
    openApiDocument(beside === undefined ? [flagsApi] : [flagsApi, beside.api], {
      title: beside?.title ?? 'Sluice feature flags',
      version: options.version ?? '0',
    }),
  );
  addGuarded(app, access, '/api/openapi.json', (reply) => reply.type(JSON_TYPE).send(document));
  addGuarded(app, access, '/metrics', (reply, principal) => {
    requireFlagReader(principal);
    const text = flagMetricsText(principal, { checks, streams, beside: beside?.metrics() ?? [] });
    return reply.type(METRICS_CONTENT_TYPE).send(text);
  });
  addOfrep(app, { ofrep, streams, cors });

  const close = async (): Promise<void> => {
    streams.close();
    beside?.endStreams();
    hot.stop();
    const patience = setTimeout(() => app.server.closeAllConnections(), FlagDefaults.stopPatienceMs);
    await app.close();
    clearTimeout(patience);
    await ruleset.stop();
    await usage.close();
    await recorder.close();
    await store.close();
  };
  try {
    await ruleset.start(FlagDefaults.startPatienceMs);
    await app.listen({ port: options.port ?? 0, host });
  } catch (error) {
    await close();
    throw new ReleaseError(
      'usage',
      `${name.charAt(0).toUpperCase()}${name.slice(1)} cannot listen on ${host}:${options.port ?? 0}: ${messageOf(error)}.`,
      {
        hint: 'Choose another with --port and --host.',
        cause: error,
      },
    );
  }
  const { port } = app.server.address() as AddressInfo;
  const url = `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  if (access.open) {
    logger.warn(
      beside === undefined
        ? 'no API key is configured: anybody on this machine may change flags, and nobody else reaches it'
        : 'no API key is configured: anybody on this machine may change flags and releases, and nobody else reaches it',
      { url },
    );
  }
  return { url, ruleset, open: access.open, close };
}

/** What a page of another origin is told. */
type Cors = (asked: IncomingHttpHeaders) => Readonly<Record<string, string>>;

const NO_HEADERS = {};
const YAML_TYPES = ['application/yaml', 'application/x-yaml', 'text/yaml'];
/** The schema of each parameter in the paths. */
const FLAG_PARAMETERS = { name: 'FlagName', user_id: 'UserId' };

function hotEndpoint(endpoint: Endpoint): HotRoute {
  return {
    path: endpoint.path,
    bodyLimit: endpoint.bodyLimit,
    answer: (principal, { flag, body }) =>
      carryOut(endpoint, {
        principal,
        params: { name: flag },
        body,
        query: undefined,
        ifNoneMatch: undefined,
        lastEventId: undefined,
        write: noWrite,
        note: noNote,
      }),
    refuse: problemAnswer,
    headers: () => NO_HEADERS,
  };
}

function noWrite(): never {
  throw new Error('an endpoint of the hot path writes');
}

function noNote(): void {
  // Questions are not in the audit.
}

function hotEvaluation(ofrep: OfrepParts, cors: Cors): HotRoute {
  return {
    path: OFREP.single,
    bodyLimit: FlagDefaults.maxContextBytes,
    answer: (principal, { flag, body }) => evaluateOne(ofrep, principal, { key: flag, body }),
    refuse: ofrepProblem,
    headers: cors,
  };
}

function createApp(logger: FlagLogger, hot: HotPath): FastifyInstance {
  const app = fastify({
    serverFactory: (listener) =>
      createServer(
        {
          keepAliveTimeout: FlagDefaults.keepAliveMs,
          requestTimeout: FlagDefaults.requestMs,
          IncomingMessage: HotRequest,
        },
        hot.before(listener),
      ),
    bodyLimit: FlagDefaults.maxBodyBytes,
    // A name that is too long is refused by a sentence, not by a path that is not found.
    routerOptions: { maxParamLength: 2_048 },
    // Idle connections do not hold up a stop.
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    frameworkErrors: (error, request, reply) => {
      // Of a path that is no path; nothing is known of what was asked.
      sendAnswer(reply as FastifyReply, problemOn(request.url, unreadablePath(error.message)));
    },
  });
  app.decorateRequest('flagPrincipal', null);
  app.decorateRequest('flagProblem', null);
  app.decorateRequest('flagNotes', null);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    try {
      done(null, parseJsonBody(text as string));
    } catch (error) {
      done(error as FlagProblem, undefined);
    }
  });
  app.setErrorHandler((error, request, reply) => {
    // No endpoint takes QUERY; without a type of content it is refused before that is looked up.
    if (codeOf(error) === 'FST_ERR_ROUTE_MISSING_CONTENT_TYPE') {
      sendNoSuch(app, { hot, request, reply });
      return;
    }
    const takesYaml = request.routeOptions.config.endpoint?.yamlAs !== undefined;
    const otherType = takesYaml && codeOf(error) === 'FST_ERR_CTP_INVALID_MEDIA_TYPE';
    const problem = otherType ? notJsonType(takesYaml) : problemOf(error);
    request.flagProblem = problem;
    if (problem.code === 'internal') {
      logger.error('a request failed', {
        method: request.method,
        path: request.routeOptions.url,
        error: messageOf(error),
      });
    }
    sendAnswer(reply, problemOn(request.url, problem));
  });
  app.setNotFoundHandler((request, reply) => sendNoSuch(app, { hot, request, reply }));
  return app;
}

/** There is no such endpoint, or it has no such method. */
function sendNoSuch(
  app: FastifyInstance,
  { hot, request, reply }: { hot: HotPath; request: FastifyRequest; reply: FastifyReply },
): void {
  const path = request.url.split('?')[0] ?? '';
  const methods = (['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).filter(
    (method) => app.findRoute({ method, url: path }) !== null || (method === 'POST' && hot.takes(path)),
  );
  const shown = path.length > 100 ? `${path.slice(0, 99)}…` : path;
  if (methods.length > 0) void reply.header('allow', methods.join(', '));
  const problem =
    methods.length > 0
      ? new FlagProblem('method-not-allowed', `${shown} answers ${methods.join(', ')}, not ${request.method}.`)
      : new FlagProblem('no-such-endpoint', `There is no endpoint ${shown}; /api/openapi.json lists them.`);
  sendAnswer(reply, problemOn(path, problem));
}

/** A refusal in the words of whoever's path it is. */
function problemOn(url: string, problem: Problem): Answer {
  const path = url.split('?')[0] ?? '';
  return path.startsWith('/ofrep/') ? ofrepProblem(problem, keyOfPath(path)) : problemAnswer(problem);
}

/** Health checks and those who look are not asked what they want to change. */
function addAudit(app: FastifyInstance, audit: Beside['audit']): void {
  app.addHook('onResponse', (request, reply, done) => {
    const { endpoint } = request.routeOptions.config;
    if (endpoint !== undefined && endpoint.writes !== null && endpoint.role !== 'report') {
      audit({
        endpoint,
        principal: request.flagPrincipal,
        path: request.url.split('?')[0] ?? '',
        requestId: requestIdOf(request),
        status: reply.statusCode,
        problem: request.flagProblem,
        details: request.flagNotes ?? {},
      });
    }
    done();
  });
}

interface HealthParts {
  readonly store: FlagStore;
  readonly ruleset: Ruleset;
  readonly beside: Beside | undefined;
}

function addHealth(app: FastifyInstance, { store, ruleset, beside }: HealthParts): void {
  app.get('/healthz', (_request, reply) => {
    void reply.type(JSON_TYPE).send(JSON.stringify({ status: 'ok' }));
  });
  app.get('/readyz', (_request, reply) => {
    const { state, ageMs, head, size, fallbacks } = ruleset;
    void reply
      .code(state === 'fresh' ? 200 : 503)
      .type(JSON_TYPE)
      .send(
        JSON.stringify({
          status: state,
          store: store.kind,
          age_ms: ageMs === null ? null : Math.round(ageMs),
          revision: head?.revision ?? null,
          flags: size,
          fallbacks,
          ...beside?.ready(),
        }),
      );
  });
}

function addEndpoints(app: FastifyInstance, access: Access, endpoints: readonly Endpoint[]): void {
  for (const endpoint of endpoints) {
    if (endpoint.hot) continue;
    const route: RouteOptions = {
      method: endpoint.method,
      url: fastifyPath(endpoint.path),
      bodyLimit: endpoint.bodyLimit,
      config: { endpoint },
      // Whoever asks for the head alone does not want to wait for events.
      exposeHeadRoute: endpoint.answers[200]?.type === undefined,
      onRequest: identify(access),
      handler: (request, reply) => answer(endpoint, request, reply),
    };
    const { yamlAs } = endpoint;
    if (yamlAs === undefined) app.route(route);
    else addYamlRoute(app, route, yamlAs);
  }
}

/** In a scope of its own: elsewhere YAML is as little a body as before. */
function addYamlRoute(app: FastifyInstance, route: RouteOptions, name: string): void {
  void app.register((scope, _options, done) => {
    scope.addContentTypeParser(YAML_TYPES, { parseAs: 'string' }, (_request, text, parsed) => {
      parsed(null, { [name]: text });
    });
    scope.route(route);
    done();
  });
}

/** Before the body is read: who is nobody cannot make the service read two megabytes. */
function identify(access: Access): onRequestHookHandler {
  return (request, _reply, done) => {
    const known = (principal: Principal): void => {
      request.flagPrincipal = principal;
      done();
    };
    try {
      const principal = access.identify(request.headers);
      if (principal instanceof Promise) principal.then(known, (error: Error) => done(error));
      else known(principal);
    } catch (error) {
      done(error as Error);
    }
  };
}

function principalOf(request: FastifyRequest): Principal {
  if (request.flagPrincipal === null) throw new Error('a request of nobody came through');
  return request.flagPrincipal;
}

function answer(
  endpoint: Endpoint,
  request: FastifyRequest,
  reply: FastifyReply,
): FastifyReply | Promise<FastifyReply> {
  const principal = principalOf(request);
  const answered = carryOut(endpoint, {
    principal,
    params: request.params as Record<string, string>,
    body: request.body,
    query: request.query,
    ifNoneMatch: request.headers['if-none-match'],
    lastEventId: lastEventIdOf(request),
    write: () => writeRequestOf(request, principal),
    note: (details) => {
      request.flagNotes = { ...request.flagNotes, ...details };
    },
  });
  return answered instanceof Promise ? answered.then((one) => sendAnswer(reply, one)) : sendAnswer(reply, answered);
}

function addGuarded(
  app: FastifyInstance,
  access: Access,
  path: string,
  send: (reply: FastifyReply, principal: Principal) => FastifyReply,
): void {
  app.get(path, { onRequest: identify(access) }, (request, reply) => {
    void send(reply, principalOf(request));
  });
}

function addOfrep(
  app: FastifyInstance,
  { ofrep, streams, cors }: { ofrep: OfrepParts; streams: EventStreams; cors: Cors },
): void {
  const { access } = ofrep;
  void app.register((scope, _options, done) => {
    scope.addHook('onRequest', (request, reply, next) => {
      void reply.headers(cors(request.headers));
      next();
    });
    const guarded = { bodyLimit: FlagDefaults.maxContextBytes, onRequest: identify(access) };
    scope.post(OFREP.bulk, guarded, async (request, reply) => {
      await catchUpWith(ofrep, (request.query as { flagConfigEtag?: unknown }).flagConfigEtag);
      const asked = { body: request.body, ifNoneMatch: request.headers['if-none-match'] };
      return sendAnswer(reply, evaluateAll(ofrep, principalOf(request), asked));
    });
    // Whoever asks for the head alone does not want to wait for events.
    scope.get(OFREP.stream, { exposeHeadRoute: false }, async (request, reply) => {
      const { token } = request.query as { token?: unknown };
      const linked = typeof token === 'string' && access.acceptsStreamToken(token, ofrep.now());
      if (!linked) requireFlagReader(await access.identify(request.headers));
      streams.admit();
      reply.hijack();
      streams.add(reply.raw, lastEventIdOf(request), cors(request.headers));
    });
    for (const path of [fastifyPath(OFREP.single), OFREP.bulk, OFREP.stream]) {
      scope.options(path, (_request, reply) => reply.code(204).send());
    }
    done();
  });
}

function corsHeaders(origin: string | undefined, origins: readonly string[] | null): Readonly<Record<string, string>> {
  if (origin === undefined || (origins !== null && !origins.includes(origin))) return NO_HEADERS;
  return {
    'access-control-allow-origin': origins === null ? '*' : origin,
    'access-control-allow-methods': 'POST, GET, OPTIONS',
    'access-control-allow-headers': 'content-type, if-none-match, authorization, x-api-key, last-event-id',
    'access-control-expose-headers': 'ETag, Retry-After',
    'access-control-max-age': '600',
    vary: 'Origin',
  };
}

function lastEventIdOf({ headers }: FastifyRequest): string | undefined {
  const last = headers['last-event-id'];
  return typeof last === 'string' ? last : undefined;
}

function sendAnswer(reply: FastifyReply, { status, headers, body, stream }: Answer): FastifyReply {
  if (stream !== undefined) {
    reply.hijack();
    stream(reply.raw);
    return reply;
  }
  void reply.code(status);
  if (body !== null) void reply.header('content-type', JSON_TYPE);
  if (headers !== undefined) void reply.headers(headers);
  return body === null ? reply.send() : reply.send(JSON.stringify(body));
}

function writeRequestOf(request: FastifyRequest, principal: Principal): WriteRequest {
  const { 'if-match': ifMatch, 'idempotency-key': key } = request.headers;
  const most = FlagDefaults.maxIdempotencyKeyLength;
  if (Array.isArray(key) || (key !== undefined && (key.length === 0 || key.length > most))) {
    throw new FlagProblem('invalid-request', `An Idempotency-Key has 1 to ${most} characters.`);
  }
  return {
    principal,
    ifMatch: ifMatch === undefined ? null : ifMatch.trim() === '*' ? '*' : ifMatch.split(',').map((one) => one.trim()),
    idempotencyKey: key ?? null,
    request: `${request.method} ${request.url}\n${JSON.stringify(request.body ?? null)}`,
    requestId: requestIdOf(request),
  };
}

function requestIdOf({ headers }: FastifyRequest): string | null {
  const id = headers['x-request-id'];
  return typeof id === 'string' ? id.slice(0, 200) : null;
}

function fastifyPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}
