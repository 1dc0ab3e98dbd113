import type { WorkflowHandle } from '@temporalio/client';
import { isToBeAskedAgain } from './client-error';
import { untilAnswered } from './until-heard';

/**
 * Asks a workflow of Sluice's. While a worker takes it over, the question is asked again; of one that was ended from
 * outside no workflow task is to come, and its answer is as it is (workflows/ahead-of-task.ts).
 */
export function askWorkflow<Answer>(handle: WorkflowHandle, query: string): Promise<Answer> {
  return untilAnswered(async () => {
    try {
      return await handle.query<Answer>(query);
    } catch (error) {
      if (!isToBeAskedAgain(error) || (await handle.describe()).status.name === 'RUNNING') throw error;
      return handle.query<Answer, [boolean]>(query, true);
    }
  });
}
