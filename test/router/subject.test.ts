import fc from 'fast-check';
import { bucketOf, type RoutedRequest, type TrustProxy } from '../../src/router';
import { clientAddress } from '../../src/router/client-address';
import { startRelease, testRouter } from './support';

describe('clientAddress', () => {
  const of = (trust: TrustProxy, remoteAddress: string | undefined, forwardedFor?: string) =>
    clientAddress(trust)({ remoteAddress, forwardedFor });

  it.each<[string, TrustProxy, string | undefined, string | undefined, string | null]>([
    ['the peer, when nobody is trusted', false, '203.0.113.7', undefined, '203.0.113.7'],
    ['none, when an unknown proxy may be in between', false, '203.0.113.7', '198.51.100.1', null],
    ['the peer, behind one proxy that adds nothing', 1, '10.0.0.1', undefined, '10.0.0.1'],
    ['the last entry, behind one proxy', 1, '10.0.0.1', '6.6.6.6, 198.51.100.1', '198.51.100.1'],
    ['the last but one, behind two', 2, '10.0.0.1', '6.6.6.6, 198.51.100.1, 10.0.0.2', '198.51.100.1'],
    ['the first, behind more proxies than entries', 3, '10.0.0.1', '198.51.100.1', '198.51.100.1'],
    [
      'the first untrusted from the right',
      ['10.0.0.0/8'],
      '10.0.0.1',
      '6.6.6.6, 198.51.100.1, 10.9.9.9',
      '198.51.100.1',
    ],
    ['the peer, when it is not in the networks', ['10.0.0.0/8'], '203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['by name: loopback', ['loopback'], '127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['by name: loopback of IPv6', ['loopback'], '::1', '198.51.100.1', '198.51.100.1'],
    ['by name: private', ['private'], '192.168.1.1', '198.51.100.1', '198.51.100.1'],
    ['IPv4 written as IPv6', ['10.0.0.0/8'], '::ffff:10.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
    ['an entry with a port', 1, '10.0.0.1', '198.51.100.1:4711', '198.51.100.1'],
    ['an IPv6 entry with brackets and port', 1, '10.0.0.1', '[2001:DB8::1]:4711', '2001:db8::1'],
    ['IPv6 in one spelling', 1, '10.0.0.1', '2001:0db8:0:0::0001', '2001:db8::1'],
    ['none, for an entry that is no address', 1, '10.0.0.1', 'unknown', null],
    ['none, for an empty entry', 1, '10.0.0.1', '', null],
    ['none, without a socket', false, undefined, undefined, null],
    ['none, for a trusted chain that breaks off in garbage', ['10.0.0.0/8'], '10.0.0.1', '198.51.100.1, x', null],
  ])('is %s', (_what, trust, remote, forwarded, expected) => {
    expect(of(trust, remote, forwarded)).toBe(expected);
  });

  it('does not let a client choose its address by writing the header, behind a trusted proxy', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.string())), (lies) => {
        const forwarded = [...lies, '198.51.100.1'].join(', ');
        expect(of(1, '10.0.0.1', forwarded)).toBe('198.51.100.1');
        expect(of(['10.0.0.1'], '10.0.0.1', forwarded)).toBe('198.51.100.1');
      }),
    );
  });
});

describe('the subject of a request', () => {
  function identify(request: RoutedRequest, options: Parameters<typeof testRouter>[0] = {}) {
    const { router, logger } = testRouter(options);
    startRelease(router, 50);
    return { router, logger, exchange: router.begin(request) };
  }

  it('is the user before the address', () => {
    const { exchange } = identify({ userId: 'alice', remoteAddress: '203.0.113.7' });

    expect(exchange.assignment).toMatchObject({ subject: 'user', bucket: bucketOf('r1', 'alice') });
  });

  it('takes numeric user ids', () => {
    expect(identify({ userId: 42 }).exchange.assignment.bucket).toBe(bucketOf('r1', '42'));
  });

  it.each([undefined, null, ''])('is the address when the user id is %j', (userId) => {
    const { exchange } = identify({ userId, remoteAddress: '203.0.113.7' });

    expect(exchange.assignment).toMatchObject({ subject: 'address', bucket: bucketOf('r1', '203.0.113.7') });
    expect(exchange.setCookie).toBeNull();
    expect(exchange.variesByCookie).toBe(false);
  });

  it('is the address the app gives before the one of the socket', () => {
    const { exchange } = identify({ clientAddress: '198.51.100.9', remoteAddress: '203.0.113.7' });

    expect(exchange.assignment.bucket).toBe(bucketOf('r1', '198.51.100.9'));
  });

  it('is a new anonymous id when there is no address, kept by a cookie', () => {
    const { router, exchange } = identify({});

    expect(exchange.assignment.subject).toBe('anonymous');
    expect(exchange.setCookie).toMatch(
      /^__Host-sluice_id=[A-Za-z0-9_-]{22}; Path=\/; Max-Age=34560000; HttpOnly; SameSite=Lax; Secure$/,
    );
    expect(exchange.variesByCookie).toBe(true);

    const [cookie = ''] = (exchange.setCookie ?? '').split(';');
    const again = router.begin({ cookie: `theme=dark; ${cookie}; lang=en` });

    expect(again.assignment).toEqual(exchange.assignment);
    expect(again.setCookie).toBeNull();
  });

  it('is a fresh id for each client', () => {
    const { router } = identify({});
    const cookies = new Set(Array.from({ length: 100 }, () => router.begin({}).setCookie));

    expect(cookies.size).toBe(100);
  });

  it.each([
    '__Host-sluice_id=short',
    '__Host-sluice_id=',
    'sluice_id=AAAAAAAAAAAAAAAAAAAAAA',
    ';;=',
    'x'.repeat(20_000),
  ])('is a new anonymous id when the cookie is %.40j', (cookie) => {
    expect(identify({ cookie }).exchange.setCookie).not.toBeNull();
  });

  it('has a cookie without Secure and prefix for plain http', () => {
    const { exchange } = identify({}, { anonymousId: { secure: false, maxAgeDays: 1 } });

    expect(exchange.setCookie).toMatch(/^sluice_id=.{22}; Path=\/; Max-Age=86400; HttpOnly; SameSite=Lax$/);
  });

  it('is nobody, so stable, when anonymous ids are off', () => {
    const { exchange } = identify({}, { anonymousId: false });

    expect(exchange.assignment).toMatchObject({ cohort: 'stable', subject: 'none', reason: 'no-subject' });
    expect(exchange.setCookie).toBeNull();
  });

  it('is the anonymous id behind a proxy nobody told the router about, which is logged once', () => {
    const { router, logger, exchange } = identify({ remoteAddress: '10.0.0.1', forwardedFor: '198.51.100.1' });
    router.begin({ remoteAddress: '10.0.0.1', forwardedFor: '198.51.100.1' });

    expect(exchange.assignment.subject).toBe('anonymous');
    expect(logger.lines.filter(({ message }) => message.includes('X-Forwarded-For'))).toHaveLength(1);
  });

  it('is not asked for, and no cookie set, while the weight is 0', () => {
    const { router } = testRouter();
    startRelease(router, 0);

    const exchange = router.begin({});

    expect(exchange.assignment).toMatchObject({ cohort: 'stable', reason: 'weight-0', subject: 'none' });
    expect(exchange.setCookie).toBeNull();
  });
});
