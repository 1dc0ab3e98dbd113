import { IncomingMessage } from 'node:http';
import type { IncomingHttpHeaders, RequestListener, ServerResponse } from 'node:http';
import { messageOf } from '../../errors';
import type { Access, Principal } from '../access';
import type { FlagLogger } from '../logger';
import type { Problem } from '../problem';
import type { Answer } from './endpoint';
import { bodyTooLarge, JSON_TYPE, notJsonType, parseJsonBody, problemOf, refuseStranger, unreadablePath } from './http';

/** A question that comes by the thousand a second: a POST about one flag, answered from memory. */
export interface HotRoute {
  /** With `{…}` for the flag's name. */
  readonly path: string;
  /** Bytes. */
  readonly bodyLimit: number;
  /** May throw a Problem. */
  readonly answer: (
    principal: Principal,
    asked: { readonly flag: string; readonly body: unknown },
  ) => Answer | Promise<Answer>;
  readonly refuse: (problem: Problem, flag: string) => Answer;
  /** For every answer, beside its own. */
  readonly headers: (asked: IncomingHttpHeaders) => Readonly<Record<string, string>>;
}

export interface HotPathOptions {
  readonly access: Access;
  readonly logger: FlagLogger;
  readonly routes: readonly HotRoute[];
}

/** A route whose path was taken apart, once. */
interface Hot {
  readonly before: string;
  readonly after: string;
  readonly route: HotRoute;
}

interface Asked {
  readonly route: HotRoute;
  /** As it stands in the path. */
  readonly flag: string;
}

/** Takes a body as it is parsed; null is its end. */
type BodySink = (chunk: Buffer | null) => void;

/**
 * A request whose body can be had without the stream that it is otherwise read by: the buffers, events and ticks of one
 * take longer than all else that is done for a check, and its body is one piece that comes with the head.
 */
export class HotRequest extends IncomingMessage {
  #sink: BodySink | null = null;

  /** From now on the body goes there. */
  sendBodyTo(sink: BodySink): void {
    if (!this.complete && this.readableLength === 0) {
      this.#sink = sink;
      return;
    }
    // It has come already, while it was being found out who asks.
    this.on('data', sink);
    this.on('end', () => sink(null));
  }

  /** The rest of a body that was refused. */
  dropBody(): void {
    this.#sink = drop;
    this.removeAllListeners('data').removeAllListeners('end');
  }

  /** Node's parser hands the body over by this, and null at its end. */
  override push(chunk: Buffer | null, encoding?: BufferEncoding): boolean {
    if (this.#sink === null) return super.push(chunk, encoding);
    this.#sink(chunk);
    return true;
  }
}

interface Exchange {
  readonly request: HotRequest;
  readonly response: ServerResponse;
}

/**
 * Answers the few questions that come most often straight from the request: a framework's hooks, loggers and replies take
 * longer than the answer. What is here is nowhere else, so there is one way to ask it.
 */
export class HotPath {
  readonly #access: Access;
  readonly #logger: FlagLogger;
  readonly #hot: readonly Hot[];
  #stopping = false;

  constructor({ access, logger, routes }: HotPathOptions) {
    this.#access = access;
    this.#logger = logger;
    this.#hot = routes.map((route) => {
      const [before = '', after = ''] = route.path.split(/\{\w+\}/);
      return { before, after, route };
    });
  }

  /** Listens to a server; what is not for here goes to `next`. */
  before(next: RequestListener): RequestListener<typeof HotRequest> {
    return (request, response) => {
      const asked = request.method === 'POST' ? this.#find(request.url ?? '') : null;
      if (asked === null) next(request, response);
      else this.#begin(asked, { request, response });
    };
  }

  /** Whether a POST to this path is answered here. */
  takes(path: string): boolean {
    return this.#find(path) !== null;
  }

  /** From now on an answer ends its connection, which would keep a stop waiting. */
  stop(): void {
    this.#stopping = true;
  }

  #find(url: string): Asked | null {
    for (const { before, after, route } of this.#hot) {
      if (!url.startsWith(before)) continue;
      const query = url.indexOf('?');
      const path = query === -1 ? url : url.slice(0, query);
      if (!path.endsWith(after)) continue;
      const flag = path.slice(before.length, path.length - after.length);
      if (flag !== '' && !flag.includes('/')) return { route, flag };
    }
    return null;
  }

  /** Before the body is read: who is nobody cannot make the service read. */
  #begin({ route, flag }: Asked, exchange: Exchange): void {
    const { headers, url = '' } = exchange.request;
    let asked: Asked = { route, flag };
    const known = (principal: Principal): void => this.#read(principal, asked, exchange);
    const refuse = (error: unknown): void => this.#refuse(error, asked, exchange);
    try {
      asked = { route, flag: decoded(flag) };
      refuseStranger(this.#access, url, headers);
      const principal = this.#access.identify(headers);
      if (principal instanceof Promise) principal.then(known).catch(refuse);
      else known(principal);
    } catch (error) {
      refuse(error);
    }
  }

  #read(principal: Principal, asked: Asked, exchange: Exchange): void {
    const { request } = exchange;
    const { bodyLimit } = asked.route;
    checkBody(request.headers, bodyLimit);
    let body: Buffer | null = null;
    request.sendBodyTo((chunk) => {
      // A request whose sender goes away does not end, and needs no answer.
      if (chunk === null) {
        this.#answer(principal, { asked, body: body?.toString() ?? '' }, exchange);
        return;
      }
      body = body === null ? chunk : Buffer.concat([body, chunk]);
      if (body.length <= bodyLimit) return;
      request.dropBody();
      this.#refuse(bodyTooLarge(), asked, exchange);
    });
  }

  #answer(principal: Principal, { asked, body }: { asked: Asked; body: string }, exchange: Exchange): void {
    const { route, flag } = asked;
    try {
      const answered = route.answer(principal, { flag, body: parseJsonBody(body) });
      if (answered instanceof Promise) {
        answered
          .then((answer) => this.#write(exchange, route, answer))
          .catch((error: unknown) => this.#refuse(error, asked, exchange));
      } else this.#write(exchange, route, answered);
    } catch (error) {
      this.#refuse(error, asked, exchange);
    }
  }

  #refuse(error: unknown, { route, flag }: Asked, exchange: Exchange): void {
    const problem = problemOf(error);
    if (problem.code === 'internal') {
      this.#logger.error('a request failed', { method: 'POST', path: route.path, error: messageOf(error) });
    }
    // Of a body that is not read to its end, the rest would be taken for the next request.
    if (!exchange.request.complete) exchange.response.shouldKeepAlive = false;
    this.#write(exchange, route, route.refuse(problem, flag));
  }

  /** Head and body in one piece. */
  #write({ request, response }: Exchange, route: HotRoute, { status, headers, body }: Answer): void {
    if (this.#stopping) response.shouldKeepAlive = false;
    const text = JSON.stringify(body);
    const length = Buffer.byteLength(text);
    response.writeHead(status, {
      'content-type': JSON_TYPE,
      'content-length': length,
      ...route.headers(request.headers),
      ...headers,
    });
    // Text of one byte a character is written without being looked through again.
    response.end(text, length === text.length ? 'latin1' : 'utf8');
  }
}

function drop(): void {
  // Nobody reads it.
}

function decoded(flag: string): string {
  if (!flag.includes('%')) return flag;
  try {
    return decodeURIComponent(flag);
  } catch (error) {
    throw unreadablePath(messageOf(error));
  }
}

/** Refuses what need not be read. */
function checkBody(headers: IncomingHttpHeaders, limit: number): void {
  const { 'content-type': type, 'content-length': length } = headers;
  if (Number(length) > limit) throw bodyTooLarge();
  const empty = headers['transfer-encoding'] === undefined && (length === undefined || length === '0');
  if (type === undefined ? !empty : !isJson(type)) throw notJsonType();
}

function isJson(type: string): boolean {
  return type === 'application/json' || /^application\/json\s*(;|$)/i.test(type);
}
