import type { ReleaseStatus } from '../../workflows/api';
import { ReleaseError } from '../../errors';
import { safeText } from '../display-width';
import { EXIT, exitCodeOfStatus } from '../exit-codes';
import type { ExitCode } from '../exit-codes';
import { follow, reportEnd } from '../follow';
import type { Registry } from '../registry';
import { checkReportPath, REPORT_OPTION, writeReleaseReport } from '../report-file';
import { resolveServiceRef } from '../service-ref';
import { phaseLook } from '../live-view';
import { glyphs, paint } from '../style';
import { parseDurationArgument } from '../units';
import { warnWithoutWorker } from '../workers';

interface WaitOptions {
  readonly for: string;
  readonly timeout?: string;
  readonly release?: string;
  readonly exitOnHold?: boolean;
  readonly report?: string;
}

const GOALS = ['completed', 'promoted', 'rolled-back', 'paused', 'approval', 'step=N'];

/** `sluice wait`: for scripts; ends with 0 when what is waited for is so. */
export function addWaitCommand(registry: Registry): void {
  registry
    .add('wait <service>', 'Wait until a release has got somewhere', [
      'sluice wait checkout --timeout 30m',
      'sluice wait checkout --for approval',
      'sluice wait checkout --for step=3',
    ])
    .option('--for <what>', GOALS.join(', '), 'completed')
    .option('--timeout <duration>', 'wait no longer than this (code 124, or 8 when it waits for a person)')
    .option('--exit-on-hold', 'end with code 8 as soon as it waits for a person')
    .option('--release <id>', 'a certain release instead of the newest')
    .option(...REPORT_OPTION)
    .action(async (service: string, options: WaitOptions, command) => {
      await registry.run(command, async (session) => {
        const reached = parseGoal(options.for);
        const timeoutMs =
          options.timeout === undefined ? undefined : parseDurationArgument(options.timeout, '--timeout');
        if (options.report !== undefined) await checkReportPath(options.report);
        const ref = await resolveServiceRef(service, session.cli.spec, options.release);
        const client = await session.client();
        await warnWithoutWorker(session, client);
        const end = await follow(session, client, ref, {
          // It is given again and again, and each time what was before is told already.
          view: session.verbose ? 'notes' : 'news',
          until: reached,
          stopOnHold: options.exitOnHold === true,
          ...(timeoutMs === undefined ? {} : { timeoutMs }),
        });
        const { status } = end;
        if (status !== null) {
          session.result(status, () => {
            const { symbol, tone } = phaseLook(status, glyphs(session.look));
            return [`${paint(symbol, tone, session.look)} ${safeText(status.message)}`];
          });
        }
        if (status !== null && options.report !== undefined) await writeReleaseReport(session, options.report, status);
        if (end.kind === 'ended') return failedGoalCode(end.status);
        return reportEnd(session, ref, end);
      });
    });
}

/** The release ended without what was waited for: why it ended says the code; a good end nobody waited for is 1. */
function failedGoalCode(status: ReleaseStatus): ExitCode {
  const code = exitCodeOfStatus(status);
  return code === EXIT.ok ? EXIT.error : code;
}

/** What `--for` asks for, as a question to a status. */
function parseGoal(text: string): (status: ReleaseStatus) => boolean {
  switch (text) {
    case 'completed':
      // The pipeline's word for it: an end in a roll back is no completion, and has its own code.
      return ({ outcome }) => outcome === 'promoted' || outcome === 'cleanedUp';
    case 'promoted':
      return (status) => status.outcome === 'promoted';
    case 'rolled-back':
      return (status) => status.phase === 'rolledBack';
    case 'paused':
      return (status) => status.phase === 'paused';
    case 'approval':
      return (status) => status.phase === 'awaitingApproval';
    default: {
      const step = /^step=(\d{1,3})$/u.exec(text);
      const number = Number(step?.[1] ?? 0);
      if (number >= 1) {
        return (status) =>
          hasStep(status, number) &&
          (exitCodeOfStatus(status) === EXIT.ok ||
            (status.outcome === null && status.phase !== 'rollingBack' && status.step >= number - 1));
      }
      throw new ReleaseError('usage', `There is no ${JSON.stringify(text)} to wait for.`, {
        hint: `Choose one of: ${GOALS.join(', ')} (steps count from 1, as \`sluice status\` prints them).`,
      });
    }
  }
}

/** @throws ReleaseError `usage` for a step that the release does not have: it would be waited for in vain. */
function hasStep({ steps }: ReleaseStatus, number: number): true {
  if (number <= steps.length) return true;
  throw new ReleaseError('usage', `The release has no step ${number}.`, {
    hint: `It has ${steps.length}: ${steps.map((step, index) => `${index + 1} ${step.name}`).join(', ')}.`,
  });
}
