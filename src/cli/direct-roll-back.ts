import { ReleaseError } from '../errors';
import type { DirectNews, DirectRollBack } from '../targets/kubernetes/direct-roll-back';
import { asReleaseError } from './cluster-errors';
import { confirm, requireConfirmable } from './confirm';
import { EXIT } from './exit-codes';
import type { ExitCode } from './exit-codes';
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
  const signal = AbortSignal.timeout(DIRECT_TIMEOUT_MS);
  const began = performance.now();
  const onNews = (news: DirectNews): void => session.note(describeNews(news));
  // The client itself tries again what the API server did not answer, and knows nothing of steps.
  const onWait = (sentence: string): void =>
    onNews({ kind: 'wait', sentence, atMs: performance.now() - began, between: false });
  try {
    const cluster = lazy.cluster().connectCluster({ env: cli.env, onWait });
    try {
      const where = { namespace: ref.namespace, name: ref.service };
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
    throw asReleaseError(error);
  }
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
