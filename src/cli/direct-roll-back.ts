import { ReleaseError } from '../errors';
import type { DirectNews, DirectRollBack, DirectStep, DirectWrite } from '../targets/kubernetes/direct-roll-back';
import type { InterruptSignal } from './cli';
import { asReleaseError } from './cluster-errors';
import { confirm, requireConfirmable } from './confirm';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
import { listenForInterrupt } from './interrupt';
import { lazy } from './lazy';
import { API_VERSION } from './output';
import { refName, resolveServiceRef } from './service-ref';
import type { Session } from './session';
import { glyphs, paint } from './style';

/** For everything: pods that come back after a half-done promotion take the longest. */
const DIRECT_TIMEOUT_MS = 15 * 60_000;

/** `sluice rollback --direct`: on the cluster alone. Every write is told as it is made, with the time it took, and every wait when it begins. */
export async function rollBackDirect(
  session: Session,
  service: string,
  options: { readonly abandon?: boolean; readonly release?: string; readonly yes?: boolean },
): Promise<ExitCode> {
  const { cli, look } = session;
  if (options.abandon === true || options.release !== undefined) {
    throw new ReleaseError('usage', '--direct knows only what is in the cluster.', {
      hint: 'Leave --abandon and --release out.',
    });
  }
  requireConfirmable(cli, options.yes === true);
  const ref = await resolveServiceRef(service, cli.spec);
  const question = `Roll ${refName(ref)} back on the cluster itself, past Temporal?`;
  const answer = await confirm(cli, question, options.yes === true);
  if (answer !== 'yes') {
    session.warn('Nothing was done.');
    return answer === 'interrupted' ? EXIT.interrupted : EXIT.error;
  }
  const timeout = AbortSignal.timeout(DIRECT_TIMEOUT_MS);
  const interruption = listenForInterrupt(cli);
  const signal = AbortSignal.any([timeout, interruption.signal]);
  const began = performance.now();
  const soFar: SoFar = { failedStep: null, steps: [], writes: [] };
  const onNews = (news: DirectNews): void => {
    keep(soFar, news);
    session.note(describeNews(news));
  };
  // The client itself tries again what the API server did not answer, and knows nothing of steps.
  const onWait = (sentence: string): void =>
    onNews({ kind: 'wait', sentence, atMs: performance.now() - began, between: false });
  const where = { namespace: ref.namespace, name: ref.service };
  try {
    const cluster = lazy.cluster().connectCluster({ env: cli.env, onWait });
    try {
      const done = await lazy.directRollBack().rollBackDirectly(cluster, where, { signal, onNews });
      const document = { apiVersion: API_VERSION, kind: 'DirectRollBack', ...where, ...done };
      session.result(document, () => [
        `${paint(glyphs(look).ok, 'good', look)} ${refName(ref)} is back; ${done.version ?? 'what was left'} of release ${done.release} is gone. ${describeTimes(done)}`,
      ]);
      return EXIT.ok;
    } finally {
      cluster.close();
    }
  } catch (error) {
    const cut = signal.aborted ? cutShort(refName(ref), { failedStep: soFar.failedStep, by: interruption.by }) : null;
    const code = session.fail(cut ?? asReleaseError(error), { ...where, ...soFar, totalMs: performance.now() - began });
    if (interruption.by === null) return code;
    return interruption.by === 'SIGINT' ? EXIT.interrupted : EXIT.terminated;
  } finally {
    interruption.stopListening();
  }
}

/** What was done, kept for a roll back that fails: who has to go on from there needs to know what is written. */
interface SoFar {
  /** The step that was under way. */
  failedStep: string | null;
  readonly steps: DirectStep[];
  readonly writes: DirectWrite[];
}

function keep(soFar: SoFar, news: DirectNews): void {
  switch (news.kind) {
    case 'step':
      soFar.failedStep = news.sentence;
      return;
    case 'write':
      soFar.writes.push(news.write);
      return;
    case 'done':
      soFar.failedStep = null;
      soFar.steps.push(news.step);
      return;
    case 'wait':
      return;
  }
}

function cutShort(
  name: string,
  { failedStep, by }: { readonly failedStep: string | null; readonly by: InterruptSignal | null },
): ReleaseError {
  const why = by === null ? `took longer than ${DIRECT_TIMEOUT_MS / 60_000} minutes` : 'was interrupted';
  const at = failedStep === null ? 'between two steps' : `at the step "${failedStep}"`;
  return new ReleaseError('timeout', `The roll back of ${name} ${why}, and stopped ${at}; what is written stays.`, {
    hint: 'The same command again goes on from there.',
  });
}

function describeNews(news: DirectNews): string {
  switch (news.kind) {
    case 'step':
      return `${news.sentence}:`;
    case 'write':
      return `  [${millis(news.write.atMs)}] ${news.write.sentence} (${millis(news.write.ms)})`;
    case 'wait':
      return `${news.between ? '' : '  '}[${millis(news.atMs)}] ${news.sentence}`;
    case 'done': {
      const { sentence, writes, ms, atMs } = news.step;
      return writes === 0
        ? `  [${millis(atMs)}] Nothing to do: ${sentence} (${millis(ms)})`
        : `  [${millis(atMs)}] ${sentence} (${describeWrites(writes)}, ${millis(ms)})`;
    }
  }
}

function describeTimes({ weightZeroMs, totalMs, writes }: DirectRollBack): string {
  return `Weight 0 was written after ${millis(weightZeroMs)}, and all of it done after ${millis(totalMs)}, with ${describeWrites(writes.length)}.`;
}

function describeWrites(count: number): string {
  return count === 1 ? '1 write' : `${count} writes`;
}

function millis(ms: number): string {
  return `${Math.round(ms)} ms`;
}
