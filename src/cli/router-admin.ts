import { z } from 'zod';
import { messageOf } from '../errors';
import { RouterHeaders } from '../router/protocol';
import type { RouterTargetPlan } from '../spec/plan-types';

/** What `monitor` and `doctor` ask of the instances of an in-app router, straight and without a release. */

const TIMEOUT_MS = 5000;
/** A metrics document is some kilobytes; anything much larger is not one. */
const MAX_BYTES = 1024 * 1024;

const Metrics = z.object({
  service: z.string().nullable(),
  instance: z.string(),
  now: z.string(),
  active: z.boolean(),
  weight: z.number(),
  versions: z.object({ stable: z.string(), canary: z.string().nullable() }),
});
export type InstanceMetrics = z.infer<typeof Metrics>;

export type InstanceAnswer =
  | { readonly instance: string; readonly ok: true; readonly metrics: InstanceMetrics }
  | { readonly instance: string; readonly ok: false; readonly problem: string };

/** Versions and weight of every instance. Never throws. */
export function askInstances(target: RouterTargetPlan): Promise<InstanceAnswer[]> {
  return Promise.all(
    target.instances.map(async (instance): Promise<InstanceAnswer> => {
      try {
        const response = await call(instance, '/canary/metrics', {});
        const parsed = Metrics.safeParse(JSON.parse(await readBounded(response)));
        if (response.ok && parsed.success) return { instance, ok: true, metrics: parsed.data };
        return { instance, ok: false, problem: `answered ${response.status}, and no metrics of a cohort router` };
      } catch (error) {
        return { instance, ok: false, problem: why(error) };
      }
    }),
  );
}

export type PathAnswer =
  | {
      readonly ok: true;
      readonly status: number;
      /** As the router names it; null where the request passed none. */ readonly version: string | null;
    }
  | { readonly ok: false; readonly problem: string };

/** What an instance answers to a path of the app, as any user would get it. Never throws. */
export async function askPath(instance: string, path: string): Promise<PathAnswer> {
  try {
    // A redirect is an answer like another, and is not followed, as the smoke test does not.
    const response = await call(instance, path, { redirect: 'manual' });
    await response.body?.cancel();
    return { ok: true, status: response.status, version: response.headers.get(RouterHeaders.version) };
  } catch (error) {
    return { ok: false, problem: why(error) };
  }
}

/** Whether the token opens the endpoints that write; asked of one that only reads. */
export async function checkToken(instance: string, token: string): Promise<string | null> {
  try {
    const response = await call(instance, '/canary/state', { headers: { authorization: `Bearer ${token}` } });
    await response.body?.cancel();
    return response.ok ? null : `answered ${response.status}`;
  } catch (error) {
    return why(error);
  }
}

/** Takes the canary to 0 on every instance; answers what went wrong, one sentence an instance. */
export async function rollBackInstances(
  target: RouterTargetPlan,
  token: string,
  body: { readonly reason: string; readonly actor: string },
): Promise<string[]> {
  const results = await Promise.all(
    target.instances.map(async (instance) => {
      try {
        const response = await call(instance, '/canary/rollback', {
          method: 'POST',
          headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
          body: JSON.stringify(body),
        });
        await response.body?.cancel();
        return response.ok ? null : `${instance} answered ${response.status}`;
      } catch (error) {
        return `${instance} ${why(error)}`;
      }
    }),
  );
  return results.filter((result) => result !== null);
}

function call(instance: string, path: string, init: RequestInit): Promise<Response> {
  // A redirect could carry the token elsewhere.
  return fetch(`${instance}${path}`, { redirect: 'error', ...init, signal: AbortSignal.timeout(TIMEOUT_MS) });
}

async function readBounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BYTES) throw new Error('answered more than 1 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** By what an error carries and not by its class: fetch's come from a realm of their own in some hosts. */
function why(error: unknown): string {
  if (propertyOf(error, 'name') === 'TimeoutError') return `did not answer within ${TIMEOUT_MS / 1000} s`;
  const code = propertyOf(propertyOf(error, 'cause'), 'code');
  if (typeof code === 'string') return `does not answer (${code})`;
  if (propertyOf(error, 'name') === 'SyntaxError') return 'answered something that is not JSON';
  return `does not answer (${messageOf(error)})`;
}

function propertyOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
