/** What a problem is answered with. */
export interface ProblemKind {
  readonly status: number;
  readonly title: string;
}

/** What can be wrong with a request, by its status. */
export const PROBLEMS = {
  'invalid-request': { status: 400, title: 'The request is not valid' },
  'invalid-name': { status: 400, title: 'The name cannot be a flag’s' },
  'not-json': { status: 400, title: 'The body is not JSON' },
  unauthenticated: { status: 401, title: 'Nobody is known by this key' },
  forbidden: { status: 403, title: 'Not allowed with this key' },
  'flag-not-found': { status: 404, title: 'There is no such flag' },
  'user-not-listed': { status: 404, title: 'The user is not on the list' },
  'no-such-endpoint': { status: 404, title: 'There is no such endpoint' },
  'method-not-allowed': { status: 405, title: 'The endpoint has no such method' },
  'flag-exists': { status: 409, title: 'The flag exists already' },
  'stale-fence': { status: 409, title: 'The write is older than one that was made' },
  'release-holds': { status: 409, title: 'A release holds the flag' },
  busy: { status: 409, title: 'Too many write this flag at once' },
  'precondition-failed': { status: 412, title: 'The flag has changed meanwhile' },
  'body-too-large': { status: 413, title: 'The body is too large' },
  'list-full': { status: 422, title: 'The list is full' },
  'not-json-type': { status: 415, title: 'The body is not application/json' },
  'key-reused': { status: 422, title: 'The Idempotency-Key was used for another request' },
  'precondition-required': { status: 428, title: 'If-Match is needed' },
  internal: { status: 500, title: 'The server failed' },
  'store-unavailable': { status: 503, title: 'The flag store does not answer' },
  'issuer-unavailable': { status: 503, title: 'The token cannot be checked now' },
  'too-many-streams': { status: 503, title: 'Too many event streams are open' },
} as const satisfies Record<string, ProblemKind>;

export type ProblemCode = keyof typeof PROBLEMS;

/** Members of a problem's document beside the usual ones. */
type ProblemExtra = Readonly<Record<string, unknown>>;

/** One thing that is wrong with a body or a query. */
export interface ProblemField {
  /** `/rollout_percentage`, or `?limit`. */
  readonly where: string;
  readonly message: string;
}

/** A request that is refused: a problem document (RFC 9457) when it leaves the server. */
export class Problem extends Error {
  override readonly name: string = 'Problem';
  readonly code: string;
  readonly status: number;
  readonly title: string;
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(kind: ProblemKind & { readonly code: string }, detail: string, extra: ProblemExtra = {}) {
    super(detail);
    this.code = kind.code;
    this.status = kind.status;
    this.title = kind.title;
    this.extra = extra;
  }
}

/** One of the flag service's own. */
export class FlagProblem extends Problem {
  override readonly name = 'FlagProblem';
  declare readonly code: ProblemCode;

  constructor(code: ProblemCode, detail: string, extra: ProblemExtra = {}) {
    super({ code, ...PROBLEMS[code] }, detail, extra);
  }
}

/** The document of a problem. */
export function problemDocument({ code, status, title, message, extra }: Problem): Record<string, unknown> {
  return { type: `urn:sluice:problem:${code}`, title, status, detail: message, code, ...extra };
}
