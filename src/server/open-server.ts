import type { FlagsServer } from '../flags/server/flags-server';
import { openFlagsServer } from '../flags/server/open-flags-server';
import type { FlagsServerChoice } from '../flags/server/open-flags-server';
import { createReleaseService } from './release-service';
import type { ReleaseServiceOptions } from './release-service';

/** The server as a command line describes it: a flag service, and releases beside it. */
export interface ServerChoice extends Omit<FlagsServerChoice, 'beside'> {
  readonly connect: ReleaseServiceOptions['connect'];
}

/** Starts the flag service with the endpoints of releases beside its own. That Temporal is away does not keep it. */
export async function openServer({ connect, ...choice }: ServerChoice): Promise<FlagsServer> {
  const releases = createReleaseService({ connect, logger: choice.logger });
  let server: FlagsServer;
  try {
    server = await openFlagsServer({ ...choice, beside: releases.beside });
  } catch (error) {
    await releases.close();
    throw error;
  }
  releases.begin();
  return {
    ...server,
    close: async () => {
      await server.close();
      // Only now: what was under way has been answered.
      await releases.close();
    },
  };
}
