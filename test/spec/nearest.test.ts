import { nearest } from '../../src/spec/nearest';

describe('nearest', () => {
  it.each([
    ['soack', 'soak'],
    ['wieght', 'weight'],
    ['Approve', 'approve'],
    ['aprove', 'approve'],
  ])('takes %s for %s', (word, known) => {
    expect(nearest(word, ['weight', 'soak', 'approve'])).toBe(known);
  });

  it.each(['banana', 'x', '', 'w'.repeat(10_000)])('has nothing to say about %.20s', (word) => {
    expect(nearest(word, ['weight', 'soak', 'approve'])).toBeNull();
  });
});
