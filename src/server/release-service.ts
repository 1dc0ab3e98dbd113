import type { SluiceClient } from '../client/client-types';
import type { FlagLogger } from '../flags/logger';
import type { Beside } from '../flags/server/beside';
import { auditTo } from './audit';
import { releaseEndpoints } from './release-endpoints';
import { RELEASE_PROBLEMS } from './release-problems';
import { ReleaseStreams } from './release-streams';
import { releaseSchemas } from './schemas';
import { TemporalLink } from './temporal-link';

export interface ReleaseServiceOptions {
  /** Throws a `ReleaseError` when Temporal is away; it is called again then. */
  readonly connect: () => Promise<SluiceClient>;
  readonly logger: FlagLogger;
}

/** Releases over HTTP, to be served beside the flags. */
export interface ReleaseService {
  readonly beside: Beside;
  /** Begins to look whether Temporal is there. */
  begin(): void;
  close(): Promise<void>;
}

export function createReleaseService({ connect, logger }: ReleaseServiceOptions): ReleaseService {
  const temporal = new TemporalLink({ connect, logger });
  const streams = new ReleaseStreams(temporal);
  return {
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
    begin: () => temporal.watch(),
    close: async () => {
      streams.close();
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
