import { ReleaseError } from '../errors';
import type { DirectWrite } from '../targets/kubernetes/direct-roll-back';
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

/** `sluice rollback --direct`: on the cluster alone. Every write is told as it is made, with the time it took. */
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
  const told = ({ sentence, ms, atMs }: DirectWrite): void =>
    session.note(`[${Math.round(atMs)} ms] ${sentence} (${Math.round(ms)} ms)`);
  try {
    const cluster = lazy.cluster().connectCluster({ env: cli.env });
    try {
      const where = { namespace: ref.namespace, name: ref.service };
      const done = await lazy.directRollBack().rollBackDirectly(cluster, where, { signal, onWrite: told });
      const document = { apiVersion: API_VERSION, kind: 'DirectRollBack', ...where, ...done };
      session.result(document, () => [
        `${paint(glyphs(look).ok, 'good', look)} ${refName(ref)} is back; ${done.version ?? 'what was left'} of release ${done.release} is gone. The weight was 0 after ${Math.round(done.weightZeroMs)} ms.`,
      ]);
      return EXIT.ok;
    } finally {
      cluster.close();
    }
  } catch (error) {
    throw asReleaseError(error);
  }
}
