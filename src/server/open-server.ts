import type { SluiceClient } from '../client/client-types';
import type { FlagsServerChoice } from '../flags/server/open-flags-server';
import { openFlagsServer } from '../flags/server/open-flags-server';
import type { FlagsServer } from '../flags/server/flags-server';
import { auditTo } from './audit';
import { releaseEndpoints } from './release-endpoints';
import { RELEASE_PROBLEMS } from './release-problems';
import { ReleaseStreams } from './release-streams';
import { releaseSchemas } from './schemas';
import { TemporalLink } from './temporal-link';

/** The server as a command line describes it: a flag service, and releases beside it. */
export interface ServerChoice extends Omit<FlagsServerChoice, 'beside'> {
  /** Throws a `ReleaseError` when Temporal is away; it is called again then. */
  readonly connect: () => Promise<SluiceClient>;
}

/** Starts the flag service with the endpoints of releases beside its own. That Temporal is away does not keep it. */
export async function openServer({ connect, ...choice }: ServerChoice): Promise<FlagsServer> {
  const { logger } = choice;
  const temporal = new TemporalLink({ connect, logger });
  const streams = new ReleaseStreams(temporal);
  let server: FlagsServer;
  try {
    server = await openFlagsServer({
      ...choice,
      beside: {
        title: 'Sluice',
        api: {
          endpoints: releaseEndpoints({ temporal, streams }),
          schemas: releaseSchemas,
          parameters: { namespace: 'ReleaseNamespace', service: 'ServiceName' },
          problems: RELEASE_PROBLEMS,
        },
        audit: auditTo(logger),
        ready: () => ({ temporal: temporal.state }),
        metrics: () => metricLines(temporal, streams),
        endStreams: () => streams.close(),
      },
    });
  } catch (error) {
    streams.close();
    throw error;
  }
  temporal.watch();
  return {
    ...server,
    close: async () => {
      await server.close();
      // Only now: what was under way has been answered.
      await temporal.close();
    },
  };
}

function metricLines({ state }: TemporalLink, streams: ReleaseStreams): readonly string[] {
  return [
    '# HELP sluice_server_temporal_reachable Whether Temporal answered when it was last asked.',
    '# TYPE sluice_server_temporal_reachable gauge',
    `sluice_server_temporal_reachable ${state.state === 'reachable' ? 1 : 0}`,
    '# HELP sluice_server_release_streams Open event streams of releases.',
    '# TYPE sluice_server_release_streams gauge',
    `sluice_server_release_streams ${streams.size}`,
  ];
}
