import { shiftTraffic } from '../../../src/targets/kubernetes/shift-traffic';
import type { TrafficRouter } from '../../../src/traffic/traffic-router';
import { failureOf } from '../failure-of';

const fence = { release: 'r1', epoch: 1, step: 3, attempt: 1 };
const signal = AbortSignal.timeout(60_000);

/** A router whose controller never says anything; and what was written to it, weight and attempt. */
function silentRouter(): { readonly router: TrafficRouter; readonly written: [number, number][] } {
  const written: [number, number][] = [];
  const router: TrafficRouter = {
    abilities: { weights: 'percent', matches: [], confirmedBy: 'controller', sentence: 'Any weight.' },
    apply: ({ document, fence: { attempt } }) => {
      written.push([document.weight, attempt]);
      return Promise.resolve({ written: true, foreignEdits: [], notes: [], gone: [] });
    },
    verify: () => Promise.resolve({ kind: 'pending', reasons: ['The controller is silent.'] }),
    observe: () => Promise.reject(new Error('nobody asks')),
    release: () => Promise.reject(new Error('nobody lets go')),
  };
  return { router, written };
}

function shift(router: TrafficRouter, from: number, to: number): Promise<unknown> {
  const at = (weight: number) => ({ weight, match: [] });
  return shiftTraffic(router, { document: at(to), previous: at(from), fence, signal, timeoutMs: 0 });
}

describe('a weight that is written, and never confirmed', () => {
  it('is taken back where it was a raise, under the next number', async () => {
    const { router, written } = silentRouter();
    const failure = await failureOf(shift(router, 5, 50));

    expect([failure.kind, failure.message]).toEqual([
      'unreachable',
      'The weight 50 % was written, but it is not in force: The controller is silent. It was put back to 5 %.',
    ]);
    expect(written).toEqual([
      [50, 1],
      [5, 2],
    ]);
  });

  it('stays written where it is the lower one', async () => {
    const { router, written } = silentRouter();
    const failure = await failureOf(shift(router, 50, 5));

    expect([failure.kind, failure.message]).toEqual([
      'unreachable',
      'The weight 5 % was written, but it is not in force: The controller is silent. It stays written, because it is less than 50 %.',
    ]);
    expect(written).toEqual([[5, 1]]);
  });
});
