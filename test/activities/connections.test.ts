import { Connections } from '../../src/activities/connections';

class Fake {
  closed = 0;
  close(): void {
    this.closed += 1;
  }
}

describe('connections between activities', () => {
  it('are kept open for the same plan', () => {
    const connections = new Connections<Fake>();

    const one = connections.get({ url: 'a' }, () => new Fake());

    expect(connections.get({ url: 'a' }, () => new Fake())).toBe(one);
    expect(connections.get({ url: 'b' }, () => new Fake())).not.toBe(one);
  });

  it('give way to newer ones, the longest unused first', () => {
    const connections = new Connections<Fake>(2);
    const a = connections.get('a', () => new Fake());
    const b = connections.get('b', () => new Fake());
    connections.get('a', () => new Fake());

    connections.get('c', () => new Fake());

    expect([a.closed, b.closed]).toEqual([0, 1]);
    expect(connections.get('a', () => new Fake())).toBe(a);
  });

  it('are not kept when opening fails', () => {
    const connections = new Connections<Fake>();
    const fail = (): Fake => {
      throw new Error('no');
    };

    expect(() => connections.get('a', fail)).toThrow('no');
    expect(connections.get('a', () => new Fake())).toBeInstanceOf(Fake);
  });

  it('are all closed at the end, each once', () => {
    const connections = new Connections<Fake>();
    const open = ['a', 'b'].map((plan) => connections.get(plan, () => new Fake()));

    connections.closeAll();
    connections.closeAll();

    expect(open.map((one) => one.closed)).toEqual([1, 1]);
  });
});
