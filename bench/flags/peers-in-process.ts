import { FlagChecks } from '../../src/flags/checks';
import { MemoryFlagStore } from '../../src/flags/memory-store';
import { Ruleset } from '../../src/flags/ruleset';
import { UsageRecorder } from '../../src/flags/usage';
import type { BenchTable } from '../lib/result';
import { percentile } from '../lib/statistics';
import { putFlag, quiet } from './flags';
import { perSecond } from './in-process';
import { loadPeer } from './peer-packages';
import type { Peers } from './peer-packages';

/** Each measures as often, one after the other and round by round, so that a disturbance does not hit one alone. */
const ROUNDS = 5;
const CALLS = 200_000;
const PERCENTAGE = 25;
const FLAG = 'new-checkout';

/** One that answers whether a flag at 25 percent is on for a user. */
interface Contender {
  readonly title: string;
  readonly isOn: (userId: string) => boolean;
  readonly close: () => Promise<void> | void;
}

/** Checks a second in the process, ours beside the peers', and how many of the users were let in. */
export async function peersInProcess(peers: Peers): Promise<BenchTable> {
  const contenders = [await ours(), flagd(peers), growthbook(peers), await unleash(peers)];
  const users = Array.from({ length: 4096 }, (_, i) => `user-${i}`);
  const measured = contenders.map((): number[] => []);
  try {
    for (let round = 0; round < ROUNDS; round += 1) {
      for (const [at, { isOn }] of contenders.entries()) {
        measured[at]?.push(perSecond((i) => isOn(users[i % users.length] as string), CALLS));
      }
    }
    return {
      headings: [
        'check in the process',
        'a second of the processor, median',
        'lowest',
        'highest',
        `on, of 100 (${PERCENTAGE} wanted)`,
      ],
      rows: contenders.map(({ title, isOn }, at) => {
        const samples = measured[at] ?? [];
        const on = (users.filter(isOn).length / users.length) * 100;
        return [title, ...[50, 0, 100].map((p) => Math.round(percentile(samples, p)).toString()), on.toFixed(1)];
      }),
    };
  } finally {
    for (const { close } of contenders) await close();
  }
}

async function ours(): Promise<Contender> {
  const store = new MemoryFlagStore();
  await putFlag(store, { name: FLAG, enabled: true, rollout_percentage: PERCENTAGE });
  const ruleset = new Ruleset({ source: store, logger: quiet });
  await ruleset.start(1_000);
  const usage = new UsageRecorder({ store, logger: quiet });
  const checks = new FlagChecks(ruleset, usage);
  return {
    title: 'Sluice, counted',
    isOn: (userId) => {
      const checked = checks.check(FLAG, { userId, environment: 'production' });
      return checked.kind === 'answered' && checked.evaluation.enabled;
    },
    close: async () => {
      await ruleset.stop();
      await usage.close();
    },
  };
}

interface FlagdCore {
  setConfigurations(config: string): unknown;
  resolveBooleanEvaluation(flag: string, byDefault: boolean, context: object): { readonly value: boolean };
}

function flagd({ folder, titleOf }: Peers): Contender {
  const { FlagdCore } = loadPeer(folder, '@openfeature/flagd-core') as { FlagdCore: new () => FlagdCore };
  const core = new FlagdCore();
  const targeting = {
    fractional: [
      ['on', PERCENTAGE],
      ['off', 100 - PERCENTAGE],
    ],
  };
  const flag = { state: 'ENABLED', variants: { on: true, off: false }, defaultVariant: 'off', targeting };
  core.setConfigurations(JSON.stringify({ flags: { [FLAG]: flag } }));
  return {
    title: titleOf('@openfeature/flagd-core'),
    isOn: (targetingKey) => core.resolveBooleanEvaluation(FLAG, false, { targetingKey }).value,
    close: () => undefined,
  };
}

interface GrowthBookClient {
  initSync(options: { readonly payload: object }): unknown;
  isOn(flag: string, context: { readonly attributes: object }): boolean;
  destroy(): void;
}

function growthbook({ folder, titleOf }: Peers): Contender {
  const module = loadPeer(folder, '@growthbook/growthbook') as { GrowthBookClient: new () => GrowthBookClient };
  const client = new module.GrowthBookClient();
  const rules = [{ force: true, coverage: PERCENTAGE / 100, hashAttribute: 'id' }];
  client.initSync({ payload: { features: { [FLAG]: { defaultValue: false, rules } } } });
  return {
    title: titleOf('@growthbook/growthbook'),
    isOn: (id) => client.isOn(FLAG, { attributes: { id } }),
    close: () => client.destroy(),
  };
}

interface UnleashClient {
  isEnabled(flag: string, context: { readonly userId: string }): boolean;
  once(event: 'synchronized' | 'ready', listener: () => void): void;
  on(event: 'error' | 'warn', listener: (error: unknown) => void): void;
  destroy(): void;
}

/** With its counting, which it does in the same call; nothing is sent anywhere. */
async function unleash({ folder, titleOf }: Peers): Promise<Contender> {
  const module = loadPeer(folder, 'unleash-client') as {
    Unleash: new (options: Record<string, unknown>) => UnleashClient;
    InMemStorageProvider: new () => object;
  };
  const parameters = { rollout: String(PERCENTAGE), stickiness: 'userId', groupId: FLAG };
  const strategies = [{ name: 'flexibleRollout', parameters, constraints: [] }];
  const client = new module.Unleash({
    appName: 'bench',
    url: 'http://127.0.0.1:9/api/',
    refreshInterval: 0,
    metricsInterval: 0,
    skipInstanceCountWarning: true,
    storageProvider: new module.InMemStorageProvider(),
    bootstrap: { data: [{ name: FLAG, type: 'release', enabled: true, strategies, variants: [] }] },
  });
  const ready = new Promise<void>((resolve) => client.once('ready', resolve));
  // Nobody is at the address: it answers from what it was given.
  client.on('error', () => undefined);
  client.on('warn', () => undefined);
  await ready;
  return {
    title: titleOf('unleash-client'),
    isOn: (userId) => client.isEnabled(FLAG, { userId }),
    close: () => client.destroy(),
  };
}
