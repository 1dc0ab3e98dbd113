import { fork } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { freePort } from '../src/devserver/free-port';
import { messageOf } from '../src/errors';
import { FlagServiceClient } from '../src/flags/client/flag-service-client';
import { loadHttp } from './flags/http-load';
import type { Load } from './flags/http-load';
import { ensurePeers } from './flags/peer-packages';
import type { Peers } from './flags/peer-packages';
import { peersInProcess } from './flags/peers-in-process';
import { startPostgres } from './flags/postgres';
import { withProcess, withServer } from './flags/served';
import type { BenchResult, BenchTable } from './lib/result';
import { percentile } from './lib/statistics';

const CONNECTIONS = 32;
const SECONDS = 8;
const ROUNDS = 3;
const FLAG = 'new-checkout';
const TOKEN = '*:development.0000000000000000000000000000000000000000';
const HEADINGS = ['evaluation over HTTP', 'a second, median', 'lowest', 'highest', 'p50 ms', 'p99 ms'];

/** Feature flags beside other tools' in the same run: libraries in the process, and Unleash's server over HTTP. */
export async function flagPeers(): Promise<BenchResult> {
  const say = (line: string): void => void process.stderr.write(`bench: ${line}\n`);
  const peers = await ensurePeers(say);
  const tables: BenchTable[] = [await peersInProcess(peers)];
  const failed: string[] = [];
  const loads: (readonly [string, Omit<Load, 'connections' | 'seconds'>])[] = [];
  await withServer({}, async (url) => {
    await new FlagServiceClient({ url }).create({ name: FLAG, enabled: true, rollout_percentage: 25 });
    const port = Number(new URL(url).port);
    loads.push(
      ['Sluice, check', { port, path: `/api/feature-flags/${FLAG}/check`, bodyOf: (i) => `{"user_id":"user-${i}"}` }],
      [
        'Sluice, OFREP single',
        {
          port,
          path: `/ofrep/v1/evaluate/flags/${FLAG}`,
          bodyOf: (i) => `{"context":{"targetingKey":"user-${i}"}}`,
        },
      ],
    );
    try {
      await withUnleash(peers, say, async ({ title, load }) => {
        tables.push(await compare([...loads, [title, load]]));
      });
    } catch (error) {
      say(`unleash-server is not measured: ${messageOf(error)}`);
      failed.push('flag-peers: unleash-server');
      tables.push(await compare(loads));
    }
  });
  return {
    bench: 'flag-peers',
    how: `The same flag at 25 percent and 4096 users for all: in the process by loops in turns, by the processor's time; over HTTP by ${CONNECTIONS} kept connections for ${SECONDS} s, ${ROUNDS} times in turns, from this process to servers in others. Unleash answers its frontend API with the one flag there is, from memory; PostgreSQL is behind it.`,
    figures: [],
    tables,
    failed,
  };
}

async function compare(
  loads: readonly (readonly [string, Omit<Load, 'connections' | 'seconds'>])[],
): Promise<BenchTable> {
  const measured = loads.map(() => ({ perSecond: [] as number[], latenciesMs: [] as number[] }));
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [at, [title, load]] of loads.entries()) {
      // The first warms up.
      const found = await loadHttp({ ...load, connections: CONNECTIONS, seconds: round === 0 ? 2 : SECONDS });
      if (found.failed > 0) {
        throw new Error(`${found.failed} requests to ${title} were not answered with 200: ${found.firstFailure ?? ''}`);
      }
      if (round === 0) continue;
      measured[at]?.perSecond.push(found.perSecond);
      measured[at]?.latenciesMs.push(percentile(found.latenciesMs, 50), percentile(found.latenciesMs, 99));
    }
  }
  const rows = loads.map(([title], at) => {
    const { perSecond = [], latenciesMs = [] } = measured[at] ?? {};
    const rates = [50, 0, 100].map((p) => Math.round(percentile(perSecond, p)).toString());
    const medians = latenciesMs.filter((_, i) => i % 2 === 0);
    const tails = latenciesMs.filter((_, i) => i % 2 === 1);
    return [title, ...rates, ...[medians, tails].map((of) => percentile(of, 50).toFixed(1))];
  });
  return { headings: HEADINGS, rows };
}

interface UnleashMeasured {
  readonly title: string;
  readonly load: Omit<Load, 'connections' | 'seconds'>;
}

/** Unleash's server on a PostgreSQL of its own, with the flag. */
async function withUnleash(
  { folder, titleOf }: Peers,
  say: (line: string) => void,
  use: (unleash: UnleashMeasured) => Promise<void>,
): Promise<void> {
  const postgres = await startPostgres(await freePort(), say);
  try {
    const port = await freePort();
    const args = [folder, String(postgres.port), String(port), TOKEN];
    const child = fork(require.resolve('./flags/unleash-process'), args, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    await withProcess(child, async (url) => {
      await createUnleashFlag(url);
      const load = {
        port,
        path: '/api/frontend',
        headers: { Authorization: TOKEN },
        bodyOf: (i: number) => `{"context":{"userId":"user-${i % 4096}"}}`,
      };
      await serves(`${url}${load.path}`, load);
      await use({ title: `${titleOf('unleash-server')}, ${postgres.version}`, load });
    });
  } finally {
    await postgres.stop();
  }
}

async function createUnleashFlag(url: string): Promise<void> {
  const features = `${url}/api/admin/projects/default/features`;
  const environment = `${features}/${FLAG}/environments/development`;
  const parameters = { rollout: '25', stickiness: 'userId', groupId: FLAG };
  for (const [address, body] of [
    [features, { name: FLAG, type: 'release' }],
    [`${environment}/strategies`, { name: 'flexibleRollout', parameters, constraints: [] }],
    [`${environment}/on`, {}],
  ] as const) {
    const answer = await fetch(address, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`unleash-server refused POST ${address}: ${answer.status} ${await answer.text()}`);
  }
}

/** Its frontend API answers from memory, which follows the database; until then nobody has the flag. */
async function serves(address: string, { headers, bodyOf }: Pick<Load, 'headers' | 'bodyOf'>): Promise<void> {
  const deadline = performance.now() + 120_000;
  for (let i = 0; performance.now() < deadline; i += 1) {
    const sent = { ...headers, 'content-type': 'application/json' };
    const answer = await fetch(address, { method: 'POST', headers: sent, body: bodyOf(i) });
    if (answer.ok && (await answer.text()).includes(`"${FLAG}"`)) return;
    await delay(50);
  }
  throw new Error('unleash-server does not answer by its flag');
}
