import { z } from 'zod';
import { describeHttpFailure, displayUrl, HttpFailure, shorten } from '../../metrics/http';
import type { HttpAnswer, HttpClient } from '../../metrics/http';
import { TargetFailure } from '../target';
import type { TargetFailureKind, WriteFence } from '../target';

/** The part of the flag service's document of a flag that a release reads; src/flags/flag.ts has the whole. */
const Flag = z.object({
  name: z.string(),
  enabled: z.boolean(),
  /** Null for everybody. */
  rollout_percentage: z.number().nullable(),
  /** Empty for all. */
  environments: z.array(z.string()),
  fence: z
    .object({
      owner: z.string(),
      epoch: z.number(),
      step: z.number(),
      attempt: z.number(),
      /** While true, nobody but a release changes the percentage. */
      hold: z.boolean(),
      /** The percentage before the owner's first write; null for everybody. */
      former: z.number().nullable(),
    })
    .nullable(),
});
export type ServedFlag = z.infer<typeof Flag>;

const Problem = z.object({ code: z.string(), detail: z.string() });

/** One flag of a flag service, as a release sees and writes it. */
export interface FlagService {
  /** How people know it: the flag and its service's address. */
  readonly name: string;
  /** @throws TargetFailure `invalidTarget` when there is no such flag. */
  look(signal: AbortSignal): Promise<ServedFlag>;
  /** Writes the percentage and who holds it; null for what it was before the release. */
  roll(write: {
    percentage: number | null;
    hold: boolean;
    fence: WriteFence;
    signal: AbortSignal;
  }): Promise<ServedFlag>;
}

export interface FlagServiceOptions {
  readonly http: HttpClient;
  /** Base URL. */
  readonly url: string;
  /** API key; none is sent when it is null. */
  readonly key: string | null;
  readonly flag: string;
}

export function createFlagService({ http, url, key, flag }: FlagServiceOptions): FlagService {
  const shown = displayUrl(url);
  const name = `flag ${flag} at ${shown}`;
  const at = `${url.replace(/\/+$/, '')}/api/feature-flags/${encodeURIComponent(flag)}`;
  const headers = key === null ? {} : { Authorization: `Bearer ${key}` };

  async function call(
    method: 'GET' | 'PATCH',
    address: string,
    { signal, body }: { readonly signal: AbortSignal; readonly body?: unknown },
  ): Promise<ServedFlag> {
    let answer: HttpAnswer;
    try {
      const request = { method, url: address, headers, signal, ...(body === undefined ? {} : { body }) };
      answer = await http.request(request);
    } catch (error) {
      // A redirect and an address that is never asked are settings; everything else may pass.
      const lasting = error instanceof HttpFailure && (error.kind === 'redirect' || error.kind === 'address');
      const message = `The flag service at ${shown} ${describeHttpFailure(error)}.`;
      throw new TargetFailure(lasting ? 'invalidTarget' : 'unreachable', message, { cause: error });
    }
    if (answer.status < 200 || answer.status >= 300) throw refusalOf(shown, answer);
    const read = Flag.safeParse(answer.json);
    if (read.success) return read.data;
    throw new TargetFailure('invalidTarget', `${shown} does not answer like a flag service: ${shorten(answer.text)}`);
  }

  return {
    name,
    look: (signal) => call('GET', at, { signal }),
    roll: async ({ percentage, hold, fence, signal }) => {
      const { release: owner, epoch, step, attempt } = fence;
      const body = { percentage, fence: { owner, epoch, step, attempt, hold } };
      const flagNow = await call('PATCH', `${at}/rollout`, { signal, body });
      // A proxy's own friendly answer is none.
      if (percentage === null || flagNow.rollout_percentage === percentage) return flagNow;
      const now = flagNow.rollout_percentage ?? 100;
      throw new TargetFailure('unreachable', `${name} answered that it is at ${now} % instead of ${percentage} %.`);
    },
  };
}

function refusalOf(shown: string, answer: HttpAnswer): TargetFailure {
  const read = Problem.safeParse(answer.json);
  const why = read.success ? read.data.detail : shorten(answer.text);
  return new TargetFailure(
    kindOf(answer.status, read.success ? read.data.code : null),
    `The flag service at ${shown} refused (${answer.status}): ${why}`,
  );
}

function kindOf(status: number, code: string | null): TargetFailureKind {
  if (code === 'stale-fence') return 'fenceLost';
  // Others write it at this moment, or its store is away.
  if (code === 'busy' || code === 'precondition-failed' || status === 429 || status >= 500) return 'unreachable';
  return 'invalidTarget';
}
