import { loadPeer } from './peer-packages';

interface UnleashServer {
  start(options: Record<string, unknown>): Promise<unknown>;
}

/** A minute. */
const NO_LIMIT = 1_000_000_000;

/** Unleash's server in a process of its own, as its package is started by who embeds it; its parent ends it. */
async function main([folder = '', databasePort = '', port = '', token = '']: readonly string[]): Promise<void> {
  const { start } = loadPeer(folder, 'unleash-server') as UnleashServer;
  await start({
    db: {
      host: '127.0.0.1',
      port: Number(databasePort),
      user: 'unleash',
      password: '',
      database: 'postgres',
      ssl: false,
    },
    server: { host: '127.0.0.1', port: Number(port), gracefulShutdownEnable: false },
    authentication: {
      type: 'none',
      initApiTokens: [
        { environment: 'development', projects: ['*'], secret: token, type: 'frontend', tokenName: 'bench' },
      ],
    },
    // By default 20,000 requests a minute of one address, after which they are answered with 429.
    rateLimiting: { sdkApiMaxPerMinute: NO_LIMIT, tokenAuthenticationMaxPerMinute: NO_LIMIT },
    versionCheck: { enable: false },
    telemetry: false,
    logLevel: 'error',
  });
  process.send?.({ url: `http://127.0.0.1:${port}` });
  process.once('disconnect', () => process.exit(0));
}

void main(process.argv.slice(2));
