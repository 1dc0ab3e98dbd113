import type { Principal } from '../access';
import type { Problem } from '../problem';
import type { Endpoint } from './endpoint';
import type { DescribedApi } from './openapi';

/** A request for a change, and what became of it. */
export interface AskedChange {
  readonly endpoint: Endpoint;
  /** Null: nobody is known by what was sent. */
  readonly principal: Principal | null;
  readonly path: string;
  readonly requestId: string | null;
  readonly status: number;
  /** Why it was refused. */
  readonly problem: Problem | null;
  /** What the endpoint noted of it. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** Another service on the flag service's server: behind the same keys, with the same problems, in one document. */
export interface Beside {
  readonly api: DescribedApi;
  /** What both together are called in the document. */
  readonly title: string;
  /** Told of every change that is asked for, of flags, too, and of those refused. */
  readonly audit: (asked: AskedChange) => void;
  /** Its part of /readyz. It does not make the server unready: flags are answered without it. */
  readonly ready: () => Readonly<Record<string, unknown>>;
  /** Its lines of /metrics. */
  readonly metrics: () => readonly string[];
  /** Ends what would keep connections open; called before the server is closed. */
  readonly endStreams: () => void;
}
