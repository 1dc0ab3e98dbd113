import { parentPort } from 'node:worker_threads';
import { JOBS } from './analysis-jobs';
import type { AnswerMessage, JobMessage } from './analysis-threads';

/** One thread of `AnalysisThreads`: a job at a time. */
parentPort?.on('message', (message: JobMessage) => {
  void answer(message).then((answered) => parentPort?.postMessage(answered));
});

async function answer({ id, job, input }: JobMessage): Promise<AnswerMessage> {
  // The input is what the job of that name takes: `AnalysisThreads.run` is the only one that asks.
  const play = JOBS[job] as (input: unknown) => unknown;
  try {
    return { id, answer: await play(input) };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
