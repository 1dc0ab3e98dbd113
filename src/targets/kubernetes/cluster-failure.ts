import type { ApiAnswer } from './api-http';
import { retryAfterMs } from './retry';

/** Why the API server did not do as it was asked. */
export type ClusterFailureKind =
  | 'config' // no kubeconfig, or one that cannot be used
  | 'unauthorized' // the credentials are not accepted
  | 'forbidden' // a permission is missing; the message names verb, resource and namespace
  | 'notFound' // the object, or its whole kind
  | 'alreadyExists'
  | 'conflict' // another resourceVersion than the given one, or a field that somebody else owns
  | 'invalid' // the server found fields that are wrong; the message carries its words
  | 'unreachable' // no connection, an overloaded or failing server, an answer that is none
  | 'timeout'
  | 'cancelled';

/** A field that somebody else owns, from the answer to a server-side apply. */
export interface FieldOwner {
  readonly manager: string;
  readonly field: string;
}

export interface ClusterFailureDetails {
  /** Of the answer, where there was one. */
  readonly status?: number;
  /** Of a `conflict` in field ownership; empty for one of resourceVersion. */
  readonly owners?: readonly FieldOwner[];
  /** How long the answer asks to be left alone. */
  readonly retryAfterMs?: number | null;
  readonly cause?: unknown;
}

/**
 * Why the API server did not do as it was asked, as one sentence that says what and where. It never holds a header, a
 * token or a part of the kubeconfig: what is thrown here ends in Temporal's history.
 */
export class ClusterFailure extends Error {
  readonly kind: ClusterFailureKind;
  readonly status: number | undefined;
  readonly owners: readonly FieldOwner[];
  readonly retryAfterMs: number | null;

  constructor(kind: ClusterFailureKind, message: string, details: ClusterFailureDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ClusterFailure';
    this.kind = kind;
    this.status = details.status;
    this.owners = details.owners ?? [];
    this.retryAfterMs = details.retryAfterMs ?? null;
  }
}

/** What was being done, in the words of Kubernetes' own permissions. */
export interface Doing {
  readonly verb: string;
  /** `deployments.apps`, `services/proxy`. */
  readonly resource: string;
  readonly namespace: string | undefined;
  /** The object as people read it. */
  readonly what: string;
}

/** Longest piece of the server's text that is repeated; field messages of a long object are cut there. */
const MAX_ECHO = 500;

/** The failure that an answer with an error status stands for. */
export function failureOfAnswer(answer: ApiAnswer, doing: Doing): ClusterFailure {
  const { status } = answer;
  const said = parseStatus(answer.json);
  const at = `${doing.verb} ${doing.resource}${doing.namespace === undefined ? '' : ` in namespace ${doing.namespace}`}`;
  const words = said.message === '' ? '' : `: ${shorten(said.message)}`;
  switch (status) {
    case 401:
      return new ClusterFailure('unauthorized', `The API server did not accept the credentials (${at}).`, { status });
    case 403:
      // Admission (quota, policies) refuses with the same status; only its own words tell it from a missing permission.
      if (isMissingRight(answer)) {
        return new ClusterFailure('forbidden', `The permission to ${at} is missing (${doing.what}).`, { status });
      }
      return new ClusterFailure('forbidden', `The API server refused to ${at}${words}.`, { status });
    case 404:
    case 410:
      // Without the server's own document it is the whole kind that is missing.
      if (!said.isStatus) {
        return new ClusterFailure('notFound', `The cluster has no ${doing.resource} (${doing.what}).`, { status });
      }
      // What is missing for a write may be the namespace.
      return new ClusterFailure(
        'notFound',
        doing.verb === 'create' || doing.verb === 'patch'
          ? `${doing.what} cannot be written${words}.`
          : `${doing.what} does not exist.`,
        { status },
      );
    case 409:
      return conflictOf(said, doing);
    case 400:
    case 413:
    case 415:
    case 422:
      return new ClusterFailure('invalid', `The API server did not accept ${doing.what}${fieldsOf(said)}.`, { status });
    case 405:
      return new ClusterFailure('invalid', `The API server knows no ${at}.`, { status });
    case 429:
      return new ClusterFailure('unreachable', `The API server is overloaded and refused to ${at} (429).`, {
        status,
        retryAfterMs: retryAfterMs(answer, Date.now()),
      });
    default:
      return new ClusterFailure('unreachable', `The API server answered ${status} to ${at}${words}.`, {
        status,
        retryAfterMs: retryAfterMs(answer, Date.now()),
      });
  }
}

/** True for the answer that these credentials lack a right, as far as the server knows. */
export function isMissingRight({ status, json }: ApiAnswer): boolean {
  return status === 403 && /is forbidden: User ".*" cannot /.test(parseStatus(json).message);
}

/** The failure that the same answer stands for while the server may not have read its roles: it may pass. */
export function unreadRight({ verb, resource, namespace, what }: Doing): ClusterFailure {
  const at = `${verb} ${resource}${namespace === undefined ? '' : ` in namespace ${namespace}`}`;
  return new ClusterFailure(
    'unreachable',
    `The API server says that the permission to ${at} is missing (${what}), but it has only just come back and may not have read its roles yet.`,
    { status: 403 },
  );
}

/** Another server's text, fit to be repeated: one line, without a full stop at its end. */
export function shorten(text: string): string {
  const line = text.replace(/[\u0000-\u001f\u007f-\u009f\s]+/g, ' ').trim();
  const cut = line.length <= MAX_ECHO ? line : `${line.slice(0, MAX_ECHO - 1)}…`;
  return cut.replace(/\.$/, '');
}

/** Kubernetes' `Status` object, as far as it is used. */
interface ApiStatus {
  readonly isStatus: boolean;
  readonly reason: string;
  readonly message: string;
  readonly causes: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
}

/** True for an answer that is the API server's own word and not that of a pod behind its proxy. */
export function isApiStatus(json: unknown): boolean {
  return parseStatus(json).isStatus;
}

function parseStatus(json: unknown): ApiStatus {
  const status = recordOf(json);
  const causes = recordOf(status['details'])['causes'];
  return {
    isStatus: status['kind'] === 'Status' && status['apiVersion'] === 'v1',
    reason: textOf(status['reason']),
    message: textOf(status['message']),
    causes: (Array.isArray(causes) ? causes : []).map((each: unknown) => {
      const cause = recordOf(each);
      return { reason: textOf(cause['reason']), message: textOf(cause['message']), field: textOf(cause['field']) };
    }),
  };
}

function conflictOf(said: ApiStatus, doing: Doing): ClusterFailure {
  const status = 409;
  if (said.reason === 'AlreadyExists') {
    return new ClusterFailure('alreadyExists', `${doing.what} exists already.`, { status });
  }
  const owners = said.causes
    .filter((cause) => cause.reason === 'FieldManagerConflict')
    .map((cause) => ({
      manager: /^conflict with "([^"]*)"/.exec(cause.message)?.[1] ?? 'unknown',
      field: cause.field,
    }));
  if (owners.length > 0) {
    const list = owners.map((owner) => `${owner.field} (${owner.manager})`).join(', ');
    return new ClusterFailure('conflict', `Fields of ${doing.what} are owned by somebody else: ${shorten(list)}.`, {
      status,
      owners,
    });
  }
  return new ClusterFailure('conflict', `${doing.what} was changed by somebody else in the meantime.`, { status });
}

function fieldsOf(said: ApiStatus): string {
  const fields = said.causes.filter((cause) => cause.message !== '');
  if (fields.length === 0) return said.message === '' ? '' : `: ${shorten(said.message)}`;
  return `: ${shorten(fields.map((cause) => (cause.field === '' ? cause.message : `${cause.field}: ${cause.message}`)).join('; '))}`;
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
