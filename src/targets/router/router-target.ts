import { setTimeout as delay } from 'node:timers/promises';
import { createHttpClient, describeHttpFailure, displayUrl, isRedirect } from '../../metrics/http';
import type { HttpClient } from '../../metrics/http';
import { signOverride } from '../../router/override-token';
import { RouterHeaders } from '../../router/protocol';
import type { Fence } from '../../router/protocol';
import type { RouterTargetPlan, SmokeTestStep } from '../../spec/plan-types';
import { TargetFailure } from '../target';
import type { Reassertion, Target, TargetView, TargetWrite, WriteFence } from '../target';
import { createAdminClient, isForgotten } from './admin-client';
import type { AdminClient, RouterState } from './admin-client';

/** One admin call answers from the instance's memory; five seconds are a dead or overloaded instance. */
const ADMIN_TIMEOUT_MS = 5_000;

/** Valid long enough for one try of a smoke test and the clocks' difference. */
const OVERRIDE_VALID_MS = 5 * 60_000;

/**
 * The in-app cohort router as a target: one or several instances of an app, steered by their admin addresses. Every
 * instance is asked at the same time; a raise that one of them misses is taken back on all. `adminTimeoutMs` bounds each
 * call of an admin endpoint; 5,000 by default.
 *
 * @throws TargetFailure `invalidTarget` when the token's environment variable is not set.
 */
export function createRouterTarget(
  plan: RouterTargetPlan,
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly adminTimeoutMs?: number } = {},
): Target {
  const token = env[plan.tokenEnv]?.trim() ?? '';
  if (token === '') {
    throw new TargetFailure(
      'invalidTarget',
      `The environment variable ${plan.tokenEnv}, which should hold the routers' admin token, is not set where the worker runs.`,
    );
  }
  const http = createHttpClient({ timeoutMs: options.adminTimeoutMs ?? ADMIN_TIMEOUT_MS });
  const instances = plan.instances.map((instance) => createAdminClient({ http, instance, token }));
  // The router signs and checks overrides with its admin token where it has no secret of its own.
  const overrideSecret = env[plan.overrideSecretEnv]?.trim() || token;
  return new RouterTarget(plan, instances, http, overrideSecret);
}

class RouterTarget implements Target {
  constructor(
    private readonly plan: RouterTargetPlan,
    private readonly instances: readonly AdminClient[],
    private readonly http: HttpClient,
    private readonly overrideSecret: string,
  ) {}

  async observe({ signal }: { signal: AbortSignal }): Promise<TargetView> {
    const states = await this.onAll((instance) => instance.state(signal));
    const stable = agreed(this.instances, states, (state) => state.config.stableVersion.value, 'stable version');
    const canaries = [...new Set(states.flatMap((state) => state.config.canaryVersion.value ?? []))];
    return {
      stableVersion: stable,
      canaryVersion: canaries[0] ?? null,
      weight: Math.max(...states.map((state) => state.config.weight.value)),
      // A router knows versions by their names alone.
      artifact: null,
    };
  }

  async deploy({ version, fence, signal }: TargetWrite): Promise<string> {
    // Declaring puts the weight to 0 in the same write: what an older release left there gets no traffic from here on.
    await this.onAll((instance) => instance.declare({ version, salt: fence.release, fence }, signal));
    return `${version} is declared as the canary on ${this.all()}, at weight 0.`;
  }

  async smokeTest(request: {
    test: SmokeTestStep;
    release: string;
    version: string;
    signal: AbortSignal;
  }): Promise<string> {
    const { test, version, signal } = request;
    const client = createHttpClient({ timeoutMs: test.timeoutMs });
    try {
      let problems: string[] = [];
      for (let attempt = 1; attempt <= test.attempts; attempt += 1) {
        if (attempt > 1) await delay(test.intervalMs, undefined, { signal });
        problems = (await Promise.all(this.plan.instances.map((one) => this.probe(client, one, request)))).flatMap(
          (problem) => problem ?? [],
        );
        if (problems.length === 0)
          return `${version} answered ${test.path} with ${test.expectStatus} on ${this.all()}.`;
      }
      const tries = test.attempts === 1 ? '' : ` ${test.attempts} times`;
      throw new TargetFailure(
        'smokeTestFailed',
        `The smoke test of ${version} failed${tries}: ${problems.join('; ')}.`,
      );
    } finally {
      client.close();
    }
  }

  /** One request that the router's signed override sends to the canary; answers what is wrong, or null. */
  private async probe(
    client: HttpClient,
    instance: string,
    request: { test: SmokeTestStep; release: string; version: string; signal: AbortSignal },
  ): Promise<string | null> {
    const { test, release, version, signal } = request;
    const url = `${instance.replace(/\/+$/, '')}${test.path}`;
    const override = signOverride(this.overrideSecret, {
      cohort: 'canary',
      expires: Date.now() + OVERRIDE_VALID_MS,
      salt: release,
    });
    const shown = displayUrl(url);
    try {
      const answer = await client.request({
        method: 'GET',
        url,
        headers: { [RouterHeaders.override]: override },
        redirects: 'answer',
        signal,
      });
      // Before the status: an answer of the wrong version says nothing about the right one.
      const served = answer.headers[RouterHeaders.version.toLowerCase()];
      if (served !== undefined && served !== version) {
        return `${shown} was answered by ${served} instead of ${version}: the router did not accept the signed override`;
      }
      if (answer.status !== test.expectStatus) {
        const what = isRedirect(answer.status)
          ? `with a redirect (${answer.status}), which is not followed,`
          : answer.status;
        return `${shown} answered ${what} instead of ${test.expectStatus}`;
      }
      if (served === undefined) {
        return `${shown} was answered by an unnamed version instead of ${version}: the request did not pass the cohort router; test a path that the router does not skip`;
      }
      if (test.expectBody !== null && !answer.text.includes(test.expectBody)) {
        return `${shown} answered without the text "${test.expectBody}"`;
      }
      return null;
    } catch (error) {
      if (signal.aborted) throw error;
      return `${shown} ${describeHttpFailure(error)}`;
    }
  }

  async setWeight(write: TargetWrite & { weight: number; previousWeight: number }): Promise<string> {
    const { weight, previousWeight } = write;
    if (weight > previousWeight) await this.raise(write);
    else await this.onAll((instance) => this.weigh(instance, write, weight), leastDone);
    return `${capital(this.all())} ${this.instances.length === 1 ? 'is' : 'are'} at ${weight} %.`;
  }

  /** All instances or none: what one of them misses is taken back on the others. */
  private async raise(write: TargetWrite & { weight: number; previousWeight: number }): Promise<void> {
    const { weight, previousWeight, fence, signal } = write;
    // One that cannot even be looked at would miss the raise: then nobody is raised, not even for a moment.
    const looks = await Promise.allSettled(this.instances.map((instance) => instance.state(signal)));
    const looked = failuresOf(looks);
    const raises =
      looked.length > 0 ? [] : await Promise.allSettled(this.instances.map((one) => this.weigh(one, write, weight)));
    const failures = [...looked, ...failuresOf(raises)];
    if (failures.length === 0) return;
    const first = worst(failures);
    // Who cancelled this says what comes next, and with a higher fence.
    if (signal.aborted) throw first;

    // All are asked, also after a failed look and those that failed: an earlier attempt may have raised some, and an
    // answer may have been lost, not the write.
    const back: WriteFence = { ...fence, attempt: fence.attempt + 1 };
    const undone = await Promise.allSettled(
      this.instances.map((instance) => takeBack(instance, { weight: previousWeight, fence: back }, signal)),
    );
    const left = this.instances.flatMap((instance, index) =>
      undone[index]?.status === 'rejected' ? [{ instance, raise: raises[index]?.status ?? null }] : [],
    );
    const names = (raise: 'fulfilled' | 'rejected'): string =>
      left.flatMap((one) => (one.raise === raise ? [one.instance.name] : [])).join(', ');
    const rest = [
      ...(names('fulfilled') === ''
        ? []
        : [`${names('fulfilled')} could not be taken back to ${previousWeight} % yet`]),
      ...(names('rejected') === '' ? [] : [`whether ${names('rejected')} took it is not known`]),
      ...(left.length === this.instances.length ? [] : [`${this.others(left.length)} at ${previousWeight} %`]),
    ].join('; ');
    throw new TargetFailure(first.kind, `${first.message} Not every instance reached ${weight} %: ${rest}.`, {
      cause: first,
    });
  }

  async reassert(write: TargetWrite & { weight: number }): Promise<Reassertion> {
    const { weight, version, fence, signal } = write;
    const foreignEdits: string[] = [];
    const unreachable: string[] = [];
    let guardTripped: string | null = null;
    // All of them are waited for, whatever one says: no write is under way any more when this has answered.
    const looks = await Promise.allSettled(
      this.instances.map(async (instance) => {
        const state = await instance.state(signal);
        refuseForeignRelease(instance, state, fence);
        const { tripped } = state.guard;
        if (tripped !== null && tripped.release === fence.release) {
          guardTripped ??= describeTrip(instance, tripped);
          return;
        }
        const edit = describeEdit(instance, state, { weight, version, release: fence.release });
        if (edit === null) return;
        await this.weigh(instance, write, weight);
        foreignEdits.push(edit);
      }),
    );
    const lasting: TargetFailure[] = [];
    for (const failure of failuresOf(looks)) {
      if (failure.kind === 'guardTripped') guardTripped ??= failure.message;
      else if (failure.kind === 'unreachable') unreachable.push(failure.message);
      else lasting.push(failure);
    }
    if (lasting.length > 0) throw worst(lasting);
    return { foreignEdits, guardTripped, unreachable };
  }

  async promote({ version, fence, signal }: TargetWrite): Promise<string> {
    await this.onAll(async (instance) => {
      try {
        await instance.promote({ version, fence }, signal);
      } catch (error) {
        // An instance that was started again since the last look knows the release no more.
        if (!isForgotten(error)) throw error;
        await instance.declare({ version, salt: fence.release, fence }, signal);
        await instance.promote({ version, fence }, signal);
      }
    });
    return `${version} is the stable version on ${this.all()}.`;
  }

  async restoreStable({ fence, signal, stableVersion }: TargetWrite & { stableVersion: string }): Promise<string> {
    await this.onAll(async (instance) => {
      // Before the look: from here on a late promotion of an older attempt is refused, so that what is seen stays.
      await instance.setWeight({ weight: 0, fence }, signal);
      const state = await instance.state(signal);
      if (state.config.stableVersion.value === stableVersion) return;
      await instance.declare({ version: stableVersion, salt: fence.release, fence, rearm: true }, signal);
      await instance.promote({ version: stableVersion, fence }, signal);
    }, leastDone);
    return `${stableVersion} is the stable version on ${this.all()}.`;
  }

  async removeCanary({ version, fence, signal }: TargetWrite): Promise<string> {
    await this.onAll((instance) => instance.remove({ fence }, signal), leastDone);
    return `${version} is no longer the canary on ${this.all()}.`;
  }

  close(): void {
    this.http.close();
  }

  /** Sets one instance's weight; one that has forgotten the release is told of it first. */
  private async weigh(instance: AdminClient, write: TargetWrite, weight: number): Promise<void> {
    const { version, fence, signal } = write;
    try {
      await instance.setWeight({ weight, fence }, signal);
    } catch (error) {
      if (!isForgotten(error)) throw error;
      await instance.declare({ version, salt: fence.release, fence }, signal);
      await instance.setWeight({ weight, fence }, signal);
    }
  }

  /** Asks every instance, waits for all of them, and only then throws what `choose` makes of what went wrong. */
  private async onAll<T>(
    ask: (instance: AdminClient) => Promise<T>,
    choose: (failures: readonly TargetFailure[]) => TargetFailure = worst,
  ): Promise<T[]> {
    const results = await Promise.allSettled(this.instances.map(ask));
    const failures = failuresOf(results);
    if (failures.length > 0) throw choose(failures);
    return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  }

  private all(): string {
    return this.instances.length === 1 ? (this.instances[0]?.name ?? '') : `all ${this.instances.length} instances`;
  }

  /** All but some, with their verb. */
  private others(without: number): string {
    if (without > 0) return 'the others are';
    return this.instances.length === 1 ? 'it is' : 'all are';
  }
}

/**
 * An instance back at the weight before. One that does not know the release any more, whose guard refuses it, or that a
 * later release holds has kept nothing of the raise.
 */
async function takeBack(
  instance: AdminClient,
  body: { weight: number; fence: WriteFence },
  signal: AbortSignal,
): Promise<void> {
  try {
    await instance.setWeight(body, signal);
  } catch (error) {
    const { kind } = toFailure(error);
    if (!isForgotten(error) && kind !== 'guardTripped' && kind !== 'fenceLost') throw error;
  }
}

/** On the way forward refusals that no retry mends come before those that one may: there is nothing to try again. */
function worst(failures: readonly TargetFailure[]): TargetFailure {
  return failures.find((failure) => failure.kind !== 'unreachable') ?? joined(failures);
}

/**
 * On the way back what may still be done comes first. Above all it is no end that a later release holds one of the
 * instances, while another could not be reached.
 */
function leastDone(failures: readonly TargetFailure[]): TargetFailure {
  const open = failures.filter((failure) => failure.kind !== 'fenceLost');
  const passing = open.filter((failure) => failure.kind === 'unreachable');
  return joined(passing.length > 0 ? passing : open.length > 0 ? open : failures);
}

/** Failures of one kind as one, which names every instance. */
function joined(failures: readonly TargetFailure[]): TargetFailure {
  const [first] = failures;
  if (first === undefined) return new TargetFailure('unreachable', 'No instance answered.');
  if (failures.length === 1) return first;
  return new TargetFailure(first.kind, failures.map((failure) => failure.message).join(' '), { cause: first });
}

function failuresOf(results: readonly PromiseSettledResult<unknown>[]): TargetFailure[] {
  return results.flatMap((result) => (result.status === 'rejected' ? [toFailure(result.reason)] : []));
}

function toFailure(error: unknown): TargetFailure {
  if (error instanceof TargetFailure) return error;
  throw error;
}

/** A later release's fence on an instance: this one must not touch the target any more. */
function refuseForeignRelease(instance: AdminClient, state: RouterState, fence: Fence): void {
  const held = state.fence;
  if (held === null || held.release === fence.release || held.epoch < fence.epoch) return;
  throw new TargetFailure('fenceLost', `${instance.name} is held by release ${held.release}, which came later.`);
}

/** A person's hand on the instance itself holds the canary at 0 as the guard does, and is not called the guard. */
function describeTrip(instance: AdminClient, tripped: NonNullable<RouterState['guard']['tripped']>): string {
  const { rule, version, previousWeight, reason } = tripped;
  const what = rule === 'manual' ? `was told by hand to take ${version} back` : `took ${version} back by itself`;
  return `${instance.name} ${what} from ${previousWeight} %: ${reason}.`;
}

function describeEdit(
  instance: AdminClient,
  state: RouterState,
  asked: { weight: number; version: string; release: string },
): string | null {
  const { canaryVersion, weight } = state.config;
  if (state.holder !== asked.release || canaryVersion.value !== asked.version) {
    const found = canaryVersion.value === null ? 'knew of no canary' : `had ${canaryVersion.value} as its canary`;
    return `${instance.name} ${found} (it has been up since ${state.startedAt}); ${asked.version} was declared again at ${asked.weight} %.`;
  }
  if (weight.value !== asked.weight) {
    return `${instance.name} was at ${weight.value} %, set by ${weight.origin}; put back to ${asked.weight} %.`;
  }
  return null;
}

function agreed<T>(
  instances: readonly AdminClient[],
  states: readonly RouterState[],
  of: (state: RouterState) => T,
  what: string,
): T {
  const first = states[0];
  if (first === undefined) throw new TargetFailure('invalidTarget', 'The target has no instance.');
  const odd = states.findIndex((state) => of(state) !== of(first));
  const other = states[odd];
  if (other !== undefined) {
    throw new TargetFailure(
      'invalidTarget',
      `The instances disagree about the ${what}: ${String(of(first))} on ${instances[0]?.name ?? ''}, ${String(of(other))} on ${instances[odd]?.name ?? ''}. Start them with the same one before a release.`,
    );
  }
  return of(first);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
