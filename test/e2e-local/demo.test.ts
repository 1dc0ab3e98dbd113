import { probe } from '../../src/cli/probe';
import { builtSluice, BUILD_WITHIN_MS } from '../examples/built-sluice';
import { Home, waitFor } from './home';
import type { Ended } from './home';

/** What of the demo's lines these tests look at. */
interface DemoEvent {
  readonly kind: string;
  readonly type: string;
  readonly version?: string;
  readonly outcome?: string;
  readonly address?: string;
  readonly uiUrl?: string;
  readonly instances?: readonly string[];
  readonly event?: { readonly type: string; readonly weight: number };
  readonly stable?: { readonly answers: number; readonly errors: number };
  readonly canary?: { readonly answers: number; readonly errors: number };
  readonly unanswered?: number;
}

/** It takes about 45 s where nothing else runs. */
const DEMO_WITHIN_MS = 300_000;

describe('sluice demo --json, for real', () => {
  let home: Home;
  let ran: Ended;
  let lines: string[] = [];
  let events: DemoEvent[] = [];

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);

  // One run for all of what follows.
  beforeAll(async () => {
    home = new Home();
    ran = await home.run(['demo', '--json']);
    lines = ran.out.trimEnd().split('\n');
    events = lines.slice(0, -1).flatMap(parsed);
  }, DEMO_WITHIN_MS);

  afterAll(() => home.close());

  const eventsOf = (version: string): DemoEvent[] => events.filter((event) => event.version === version);
  const weightsOf = (version: string): (number | undefined)[] =>
    eventsOf(version).flatMap(({ event }) => (event?.type === 'weightChanged' ? [event.weight] : []));

  it('ends with 0, and says in its last line how it went', () => {
    expect({ code: ran.code, signal: ran.signal, err: ran.code === 0 ? '' : ran.err }).toEqual({
      code: 0,
      signal: null,
      err: '',
    });
    expect(ran.out.endsWith('\n')).toBe(true);
    expect(lines.at(-1)).toBe('demo: v2 promoted, v3 rolled back');
  });

  it('prints one JSON document in every other line', () => {
    expect(lines.slice(0, -1).filter((line) => parsed(line).length === 0)).toEqual([]);
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(['DemoEvent']));
  });

  it('takes v2 through 5, 25, 50 and 100 percent, and promotes it', () => {
    expect(weightsOf('v2')).toEqual([5, 25, 50, 100]);
    expect(eventsOf('v2').at(-1)).toMatchObject({ type: 'released', outcome: 'promoted' });
  });

  it('takes v3 back at 25 percent', () => {
    expect(weightsOf('v3')).toEqual([5, 25]);
    expect(eventsOf('v3').at(-1)).toMatchObject({ type: 'released', outcome: 'rolledBack' });
    expect(eventsOf('v3').findLast(({ event }) => event !== undefined)?.event).toMatchObject({
      type: 'rolledBack',
      weight: 0,
    });
  });

  it('shows no error to anyone who has the stable version, and some to those who have v3', () => {
    const load = events.findLast(({ type }) => type === 'load');

    expect(load).toMatchObject({ unanswered: 0, stable: { errors: 0 } });
    expect(load?.stable?.answers).toBeGreaterThan(0);
    expect(load?.canary?.errors).toBeGreaterThan(0);
  });

  it('leaves nothing behind: no port, no process, no file', async () => {
    const setUp = events.filter(({ type }) => type === 'setUp');
    const urls = setUp.flatMap(({ uiUrl, instances = [] }) => [...(uiUrl === undefined ? [] : [uiUrl]), ...instances]);
    const addresses = [...setUp.flatMap(({ address }) => address ?? []), ...urls.map((url) => new URL(url).host)];

    expect(addresses).toHaveLength(4);
    for (const address of addresses) expect(`${address}: ${await probe(address)}`).toBe(`${address}: refused`);
    // Temporal's guard ends by itself, a moment after the demo.
    await waitFor(() => (home.processes().length === 0 ? true : null));
    expect(home.temporaryFiles()).toEqual([]);
  });
});

/** The document in a line; none when it is no JSON object. */
function parsed(line: string): DemoEvent[] {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? [value as DemoEvent] : [];
  } catch {
    return [];
  }
}
