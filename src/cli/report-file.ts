import { access, constants, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { messageOf, ReleaseError } from '../errors';
import type { ReleaseStatus } from '../workflows/api';
import { lazy } from './lazy';
import type { Session } from './session';

/** Refuses a place where no report can be written, before the work that it is about. */
export async function checkReportPath(file: string): Promise<void> {
  const folder = path.dirname(path.resolve(file));
  const present = await stat(file).catch(() => null);
  if (present?.isDirectory() === true) throw unwritable(file, 'it is a folder');
  if (present !== null && !(await allows(file, constants.W_OK))) throw unwritable(file, 'it may not be written to');
  if (present !== null) return;
  if (!(await allows(folder, constants.F_OK))) throw unwritable(file, `there is no folder ${folder}`);
  if (!(await allows(folder, constants.W_OK))) throw unwritable(file, `nothing may be written in ${folder}`);
}

/** For the commands that follow a release to its end. */
export const REPORT_OPTION = ['--report <file>', 'at the end, write the whole release as a page with plots'] as const;

/** Writes the page of a release, as `sluice explain --report` does. */
export async function writeReleaseReport(session: Session, file: string, status: ReleaseStatus): Promise<void> {
  await writeReport(session, file, lazy.releaseReport().renderReleaseReport(status, session.cli.now()));
}

/** Writes a report, over an older one of that name, and says where it is. */
export async function writeReport(session: Session, file: string, page: string): Promise<void> {
  try {
    await writeFile(file, page);
  } catch (error) {
    throw unwritable(file, messageOf(error));
  }
  session.note(`Report: ${file}`);
}

async function allows(file: string, mode: number): Promise<boolean> {
  return access(file, mode).then(
    () => true,
    () => false,
  );
}

function unwritable(file: string, why: string): ReleaseError {
  return new ReleaseError('usage', `The report cannot be written to ${file}: ${why}.`, {
    hint: 'Name a file in a folder that is there: --report release.html.',
  });
}
