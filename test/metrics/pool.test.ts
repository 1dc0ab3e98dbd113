import { mapBounded } from '../../src/metrics/pool';

describe('bounded work', () => {
  it('answers in order, and works on no more than its bound at once', async () => {
    let open = 0;
    let most = 0;

    const results = await mapBounded([5, 4, 3, 2, 1], 2, async (item) => {
      open += 1;
      most = Math.max(most, open);
      for (let turn = 0; turn < item; turn += 1) await Promise.resolve();
      open -= 1;
      return item * 10;
    });

    expect(results).toEqual([50, 40, 30, 20, 10]);
    expect(most).toBe(2);
  });

  it('begins nothing more after a failure', async () => {
    const begun: number[] = [];

    const work = mapBounded([1, 2, 3], 1, (item) => {
      begun.push(item);
      return Promise.reject(new Error('broken'));
    });

    await expect(work).rejects.toThrow('broken');
    expect(begun).toEqual([1]);
  });

  it('has nothing to do for nothing', async () => {
    expect(await mapBounded([], 4, () => Promise.resolve(1))).toEqual([]);
  });
});
