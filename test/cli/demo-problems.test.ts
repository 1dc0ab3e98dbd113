import { problemsOf } from '../../src/cli/demo/problems';
import type { DemoEnd } from '../../src/cli/demo/problems';
import type { LoadCounts } from '../../src/cli/demo/load';

const PROMOTED: DemoEnd = { outcome: 'promoted', message: 'It is the stable version.' };
const ROLLED_BACK: DemoEnd = { outcome: 'rolledBack', message: 'Its error rate was too high.' };
const COUNTS: LoadCounts = {
  sent: 130,
  stable: { answers: 100, errors: 0 },
  // Who gets the canary may suffer: that is what v3 is for.
  canary: { answers: 30, errors: 12 },
  unanswered: 0,
  skipped: 0,
};

describe('what went otherwise than the demo promises', () => {
  it('is nothing where v2 was promoted, v3 rolled back and every stable user served', () => {
    expect(problemsOf(PROMOTED, ROLLED_BACK, COUNTS)).toEqual([]);
  });

  it.each<[string, DemoEnd, DemoEnd | null, Partial<LoadCounts>, string[]]>([
    [
      'v2 rolled back, so that there was no v3',
      ROLLED_BACK,
      null,
      {},
      ['v2 was rolled back (Its error rate was too high.) instead of promoted'],
    ],
    [
      'v2 without an end',
      { outcome: null, message: 'Soaks.' },
      null,
      {},
      ['v2 has not ended (Soaks.) instead of promoted'],
    ],
    ['v3 promoted', PROMOTED, PROMOTED, {}, ['v3 was promoted (It is the stable version.) instead of rolled back']],
    [
      'v3 aborted',
      PROMOTED,
      { outcome: 'aborted', message: 'Cancelled.' },
      {},
      ['v3 was aborted (Cancelled.) instead of rolled back'],
    ],
    ['v3 never released', PROMOTED, null, {}, ['v3 was never released']],
    [
      'one error for a stable user',
      PROMOTED,
      ROLLED_BACK,
      { stable: { answers: 100, errors: 1 } },
      ['1 of 100 answers to stable users were errors'],
    ],
    ['one request without an answer', PROMOTED, ROLLED_BACK, { unanswered: 1 }, ['1 requests got no answer']],
    [
      'no stable user served',
      PROMOTED,
      ROLLED_BACK,
      { stable: { answers: 0, errors: 0 } },
      ['no stable user was ever served, so nothing was shown'],
    ],
    [
      'all of it',
      PROMOTED,
      PROMOTED,
      { stable: { answers: 100, errors: 2 }, unanswered: 3 },
      [
        'v3 was promoted (It is the stable version.) instead of rolled back',
        '2 of 100 answers to stable users were errors',
        '3 requests got no answer',
      ],
    ],
  ])('is told for %s', (_, v2, v3, counts, problems) => {
    expect(problemsOf(v2, v3, { ...COUNTS, ...counts })).toEqual(problems);
  });
});
