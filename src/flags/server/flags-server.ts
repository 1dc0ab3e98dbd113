import { isIP } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fastify } from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest, onRequestHookHandler } from 'fastify';
import { messageOf, ReleaseError } from '../../errors';
import { Access, ROLES } from '../access';
import type { AccessOptions, Principal } from '../access';
import { FlagChecks } from '../checks';
import { FlagDefaults } from '../defaults';
import { FlagService } from '../flag-service';
import type { WriteRequest } from '../flag-service';
import type { FlagLogger } from '../logger';
import { OutcomeRecorder } from '../outcome-recorder';
import { OutcomeService } from '../outcome-service';
import { FlagProblem, problemDocument } from '../problem';
import { Ruleset } from '../ruleset';
import { StoreUnavailable } from '../store';
import type { FlagStore } from '../store';
import { UsageRecorder } from '../usage';
import { flagEndpoints } from './api';
import { parsed } from './endpoint';
import type { Answer, Endpoint } from './endpoint';
import { EventStreams } from './event-streams';
import { flagMetricsText, METRICS_CONTENT_TYPE } from './metrics-text';
import { evaluateAll, evaluateOne, OFREP, ofrepProblem, rulesetVersion } from './ofrep';
import type { DisabledBehavior, OfrepParts } from './ofrep';
import { openApiDocument } from './openapi';

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, once that is known: before a body is read. */
    flagPrincipal: Principal | null;
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

const JSON_TYPE = 'application/json; charset=utf-8';
const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

/** Starts the flag service. Flags that cannot be loaded yet are off; it loads them as soon as the store answers. */
export async function startFlagsServer(options: FlagsServerOptions): Promise<FlagsServer> {
  const { store, logger } = options;
  const host = options.host ?? '127.0.0.1';
  const access = new Access(options.access);
  if (access.open && !isLoopback(host)) {
    throw new ReleaseError('usage', `Without a key the flag service listens on loopback only, and not on ${host}.`, {
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

  const app = createApp(logger);
  refuseStrangers(app, access);
  addHealth(app, { store, ruleset });
  addEndpoints(app, access, endpoints);
  const document = JSON.stringify(openApiDocument(endpoints, options.version ?? '0'));
  addGuarded(app, access, '/api/openapi.json', (reply) => reply.type(JSON_TYPE).send(document));
  addGuarded(app, access, '/metrics', (reply) =>
    reply.type(METRICS_CONTENT_TYPE).send(flagMetricsText(checks, streams)),
  );
  addOfrep(app, { ofrep, streams, origins: options.corsOrigins ?? null });

  const close = async (): Promise<void> => {
    streams.close();
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
      `The flag service cannot listen on ${host}:${options.port ?? 0}: ${messageOf(error)}.`,
      {
        hint: 'Choose another with --port and --host.',
        cause: error,
      },
    );
  }
  const { port } = app.server.address() as AddressInfo;
  const url = `http://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  if (access.open) {
    logger.warn('no API key is configured: anybody on this machine may change flags, and nobody else reaches it', {
      url,
    });
  }
  return { url, ruleset, open: access.open, close };
}

function createApp(logger: FlagLogger): FastifyInstance {
  const app = fastify({
    bodyLimit: FlagDefaults.maxBodyBytes,
    // A name that is too long is refused by a sentence, not by a path that is not found.
    routerOptions: { maxParamLength: 2_048 },
    // Idle connections do not hold up a stop.
    forceCloseConnections: 'idle',
    requestTimeout: 30_000,
    return503OnClosing: true,
    frameworkErrors: (error, _request, reply) => {
      // Of a path that is no path; nothing is known of what was asked.
      sendProblem(
        reply as FastifyReply,
        new FlagProblem('invalid-request', `The path cannot be read: ${error.message}.`),
      );
    },
  });
  app.decorateRequest('flagPrincipal', null);
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, text, done) => {
    if (text === '') {
      done(null, undefined);
      return;
    }
    try {
      done(null, JSON.parse(text as string));
    } catch (error) {
      done(new FlagProblem('not-json', `The body is not JSON: ${messageOf(error)}.`), undefined);
    }
  });
  app.setErrorHandler((error, request, reply) => {
    // No endpoint takes QUERY; without a type of content it is refused before that is looked up.
    if (codeOf(error) === 'FST_ERR_ROUTE_MISSING_CONTENT_TYPE') {
      sendNoSuch(app, request, reply);
      return;
    }
    const problem = problemOf(error);
    if (problem.code === 'internal') {
      logger.error('a request failed', {
        method: request.method,
        path: request.routeOptions.url,
        error: messageOf(error),
      });
    }
    if (request.url.startsWith('/ofrep/')) {
      const { key } = request.params as { key?: string };
      sendAnswer(reply, ofrepProblem(problem, key ?? null));
      return;
    }
    sendProblem(reply, problem);
  });
  app.setNotFoundHandler((request, reply) => sendNoSuch(app, request, reply));
  return app;
}

/** There is no such endpoint, or it has no such method. */
function sendNoSuch(app: FastifyInstance, request: FastifyRequest, reply: FastifyReply): void {
  const path = request.url.split('?')[0] ?? '';
  const methods = (['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const).filter(
    (method) => app.findRoute({ method, url: path }) !== null,
  );
  const shown = path.length > 100 ? `${path.slice(0, 99)}…` : path;
  if (methods.length > 0) void reply.header('allow', methods.join(', '));
  sendProblem(
    reply,
    methods.length > 0
      ? new FlagProblem('method-not-allowed', `${shown} answers ${methods.join(', ')}, not ${request.method}.`)
      : new FlagProblem('no-such-endpoint', `There is no endpoint ${shown}; /api/openapi.json lists them.`),
  );
}

/** Without keys, a page of any origin could have this machine's browser ask: only names of this machine are answered. */
function refuseStrangers(app: FastifyInstance, access: Access): void {
  if (!access.open) return;
  app.addHook('onRequest', (request, _reply, done) => {
    const name = request.hostname.replace(/^\[|\]$/g, '');
    if (name === 'localhost' || isLoopback(name)) done();
    else done(new FlagProblem('forbidden', 'Without a key this service answers to 127.0.0.1 and localhost only.'));
  });
}

function addHealth(app: FastifyInstance, { store, ruleset }: { store: FlagStore; ruleset: Ruleset }): void {
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
        }),
      );
  });
}

function addEndpoints(app: FastifyInstance, access: Access, endpoints: readonly Endpoint[]): void {
  for (const endpoint of endpoints) {
    app.route({
      method: endpoint.method,
      url: fastifyPath(endpoint.path),
      bodyLimit: endpoint.bodyLimit,
      onRequest: identify(access),
      handler: (request, reply) => answer(endpoint, request, reply),
    });
  }
}

/** Before the body is read: who is nobody cannot make the service read two megabytes. */
function identify(access: Access): onRequestHookHandler {
  return (request, _reply, done) => {
    const known = (principal: Principal): void => {
      request.flagPrincipal = principal;
      done();
    };
    try {
      const principal = access.identify(credentials(request));
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
  if (!principal.grants.some(({ role }) => ranks(role) >= ranks(endpoint.role))) {
    throw new FlagProblem(
      'forbidden',
      `${principal.id} may not ${endpoint.role === 'report' ? 'report outcomes of' : endpoint.role} flags anywhere.`,
    );
  }
  const answered = endpoint.handle({
    principal,
    params: request.params as Record<string, string>,
    body: endpoint.body === null ? undefined : parsed(endpoint.body, request.body, 'body'),
    query: endpoint.query === null ? undefined : parsed(endpoint.query, request.query, 'query'),
    write: () => writeRequestOf(request, principal),
  });
  return answered instanceof Promise ? answered.then((one) => sendAnswer(reply, one)) : sendAnswer(reply, answered);
}

function ranks(role: Endpoint['role']): number {
  return ROLES.indexOf(role);
}

function addGuarded(
  app: FastifyInstance,
  access: Access,
  path: string,
  send: (reply: FastifyReply) => FastifyReply,
): void {
  app.get(path, { onRequest: identify(access) }, (_request, reply) => {
    void send(reply);
  });
}

function addOfrep(
  app: FastifyInstance,
  { ofrep, streams, origins }: { ofrep: OfrepParts; streams: EventStreams; origins: readonly string[] | null },
): void {
  const { access } = ofrep;
  const cors = (request: FastifyRequest): Record<string, string> => corsHeaders(request.headers.origin, origins);
  void app.register((scope, _options, done) => {
    scope.addHook('onRequest', (request, reply, next) => {
      void reply.headers(cors(request));
      next();
    });
    const guarded = { bodyLimit: FlagDefaults.maxContextBytes, onRequest: identify(access) };
    scope.post(fastifyPath(OFREP.single), guarded, (request, reply) => {
      const { key = '' } = request.params as { key?: string };
      return sendAnswer(reply, evaluateOne(ofrep, principalOf(request), { key, body: request.body }));
    });
    scope.post(OFREP.bulk, guarded, (request, reply) => {
      const asked = { body: request.body, ifNoneMatch: request.headers['if-none-match'] };
      return sendAnswer(reply, evaluateAll(ofrep, principalOf(request), asked));
    });
    scope.get(OFREP.stream, async (request, reply) => {
      const { token } = request.query as { token?: unknown };
      const linked = typeof token === 'string' && access.acceptsStreamToken(token, ofrep.now());
      if (!linked) await access.identify(credentials(request));
      streams.admit();
      const last = request.headers['last-event-id'];
      reply.hijack();
      streams.add(reply.raw, typeof last === 'string' ? last : undefined, cors(request));
    });
    for (const path of [fastifyPath(OFREP.single), OFREP.bulk, OFREP.stream]) {
      scope.options(path, (_request, reply) => reply.code(204).send());
    }
    done();
  });
}

function corsHeaders(origin: string | undefined, origins: readonly string[] | null): Record<string, string> {
  if (origin === undefined || (origins !== null && !origins.includes(origin))) return {};
  return {
    'access-control-allow-origin': origins === null ? '*' : origin,
    'access-control-allow-methods': 'POST, GET, OPTIONS',
    'access-control-allow-headers': 'content-type, if-none-match, authorization, x-api-key, last-event-id',
    'access-control-expose-headers': 'ETag, Retry-After',
    'access-control-max-age': '600',
    vary: 'Origin',
  };
}

function sendAnswer(reply: FastifyReply, { status, headers, body }: Answer): FastifyReply {
  if (headers !== undefined) void reply.headers(headers);
  if (body === null) return reply.code(status).send();
  return reply.code(status).header('content-type', JSON_TYPE).send(JSON.stringify(body));
}

function sendProblem(reply: FastifyReply, problem: FlagProblem): void {
  if (problem.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer');
  void reply
    .code(problem.status)
    .header('content-type', PROBLEM_TYPE)
    .send(JSON.stringify(problemDocument(problem)));
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : '';
}

/** Anything that was thrown, as a problem. */
function problemOf(error: unknown): FlagProblem {
  if (error instanceof FlagProblem) return error;
  if (error instanceof StoreUnavailable) return new FlagProblem('store-unavailable', error.message);
  switch (codeOf(error)) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new FlagProblem('body-too-large', 'The body is larger than this endpoint takes.');
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new FlagProblem('not-json-type', 'Send the body as Content-Type: application/json.');
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      return new FlagProblem('invalid-request', 'The body is not as long as Content-Length says.');
    default:
      return new FlagProblem('internal', 'The flag service failed; its log says how.');
  }
}

function writeRequestOf(request: FastifyRequest, principal: Principal): WriteRequest {
  const { 'if-match': ifMatch, 'idempotency-key': key, 'x-request-id': requestId } = request.headers;
  const most = FlagDefaults.maxIdempotencyKeyLength;
  if (Array.isArray(key) || (key !== undefined && (key.length === 0 || key.length > most))) {
    throw new FlagProblem('invalid-request', `An Idempotency-Key has 1 to ${most} characters.`);
  }
  return {
    principal,
    ifMatch: ifMatch === undefined ? null : ifMatch.trim() === '*' ? '*' : ifMatch.split(',').map((one) => one.trim()),
    idempotencyKey: key ?? null,
    request: `${request.method} ${request.url}\n${JSON.stringify(request.body ?? null)}`,
    requestId: typeof requestId === 'string' ? requestId.slice(0, 200) : null,
  };
}

function credentials({ headers }: FastifyRequest): { authorization?: string; apiKey?: string } {
  const apiKey = headers['x-api-key'];
  return {
    ...(headers.authorization === undefined ? {} : { authorization: headers.authorization }),
    ...(typeof apiKey === 'string' ? { apiKey } : {}),
  };
}

function fastifyPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
