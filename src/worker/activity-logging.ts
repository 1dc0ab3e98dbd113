import type { ActivityInterceptorsFactory } from '@temporalio/worker';

/** Every log line of an activity says which release it is for. */
export const activityLogging: ActivityInterceptorsFactory = () => {
  let release: string | undefined;
  return {
    inbound: {
      execute: (input, next) => {
        release = releaseOf(input.args[0]);
        return next(input);
      },
    },
    outbound: {
      getLogAttributes: (input, next) => ({ ...next(input), ...(release === undefined ? {} : { release }) }),
    },
  };
};

/** Writes carry it in their fence, others by name; a notification in the status it tells of. */
function releaseOf(input: unknown): string | undefined {
  if (typeof input !== 'object' || input === null) return undefined;
  for (const holder of [input, 'fence' in input ? input.fence : null, 'status' in input ? input.status : null]) {
    if (typeof holder === 'object' && holder !== null && 'release' in holder && typeof holder.release === 'string') {
      return holder.release;
    }
  }
  return undefined;
}
