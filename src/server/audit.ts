import type { FlagLogger } from '../flags/logger';
import type { AskedChange } from '../flags/server/beside';

/** One log line for every change that was asked for, whether it was made or refused: who, what, when and how it ended. */
export function auditTo(logger: FlagLogger): (asked: AskedChange) => void {
  return ({ endpoint, principal, path, requestId, status, problem, details }) => {
    const line = {
      audit: true,
      actor: principal?.id ?? null,
      action: endpoint.id,
      path,
      result: problem === null ? 'done' : 'refused',
      status,
      ...(problem === null ? {} : { code: problem.code, why: problem.message }),
      request_id: requestId,
      ...details,
    };
    if (problem === null) logger.info('a change was made', line);
    else logger.warn('a change was refused', line);
  };
}
