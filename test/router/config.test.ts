import { createCohortRouter, RouterConfigError, type CohortRouterOptions, type Environment } from '../../src/router';
import { memoryLogger, testRouter } from './support';

function problemsOf(options: CohortRouterOptions, environment: Environment = {}): readonly string[] {
  try {
    createCohortRouter({ stableVersion: '1.0.0', logger: memoryLogger(), ...options, environment });
  } catch (error) {
    if (error instanceof RouterConfigError) return error.problems;
    throw error;
  }
  return [];
}

describe('the configuration', () => {
  it('has defaults and says so', () => {
    const { config } = testRouter().router.state();

    expect(config).toMatchObject({
      enabled: { value: true, origin: 'default' },
      stableVersion: { value: '1.0.0', origin: 'code' },
      canaryVersion: { value: null, origin: 'default' },
      weight: { value: 0, origin: 'default' },
      trustProxy: { value: false, origin: 'default' },
      adminToken: { value: 'set', origin: 'code' },
      guardMinRequests: { value: 100, origin: 'default' },
      guardMaxErrorRate: { value: 0.01, origin: 'default' },
      guardMaxLatencyMs: { value: 2000, origin: 'default' },
      guardMaxErrorRatio: { value: 2, origin: 'default' },
      guardMinErrors: { value: 10, origin: 'default' },
      guardWindowSeconds: { value: 300, origin: 'default' },
    });
  });

  it('takes every environment variable', () => {
    const { router } = testRouter({
      environment: {
        CANARY_ENABLED: 'true',
        CANARY_TRAFFIC_PERCENT: '12.5',
        CANARY_VERSION: '2.0.0',
        STABLE_VERSION: '1.5.0',
        CANARY_SALT: 'winter',
        CANARY_VERSIONS: '1.5.0, 2.0.0',
        CANARY_TRUST_PROXY: '10.0.0.0/8,loopback',
        CANARY_ADMIN_TOKEN: 'from-the-environment',
        CANARY_OVERRIDE_SECRET: 'another',
        CANARY_COOKIE_SECURE: 'false',
        CANARY_MIN_REQUESTS: '50',
        CANARY_ERROR_RATE_THRESHOLD: '2.5%',
        CANARY_LATENCY_THRESHOLD_MS: '1500',
        CANARY_ERROR_RATIO_THRESHOLD: 'off',
        CANARY_MIN_ERRORS: '5',
        CANARY_GUARD_WINDOW_SECONDS: '60',
      },
    });

    expect(router.state().config).toEqual({
      enabled: { value: true, origin: 'environment' },
      stableVersion: { value: '1.5.0', origin: 'environment' },
      canaryVersion: { value: '2.0.0', origin: 'environment' },
      weight: { value: 12.5, origin: 'environment' },
      salt: { value: 'winter', origin: 'environment' },
      versions: { value: ['1.5.0', '2.0.0'], origin: 'environment' },
      trustProxy: { value: ['10.0.0.0/8', 'loopback'], origin: 'environment' },
      adminToken: { value: 'set', origin: 'environment' },
      overrideSecret: { value: 'set', origin: 'environment' },
      guardMinRequests: { value: 50, origin: 'environment' },
      guardMaxErrorRate: { value: 0.025, origin: 'environment' },
      guardMaxLatencyMs: { value: 1500, origin: 'environment' },
      guardMaxErrorRatio: { value: false, origin: 'environment' },
      guardMinErrors: { value: 5, origin: 'environment' },
      guardWindowSeconds: { value: 60, origin: 'environment' },
    });
  });

  it('lets the environment overrule code, and an empty variable say nothing', () => {
    const environment = { STABLE_VERSION: '1.9.0', CANARY_MIN_REQUESTS: ' ' };
    const { config } = testRouter({ environment, guard: { minRequests: 20 } }).router.state();

    expect(config.stableVersion).toEqual({ value: '1.9.0', origin: 'environment' });
    expect(config.guardMinRequests).toEqual({ value: 20, origin: 'code' });
  });

  it('reads a number in CANARY_TRUST_PROXY as the number of proxies', () => {
    const { router } = testRouter({ environment: { CANARY_TRUST_PROXY: '2' } });

    expect(router.state().config.trustProxy).toEqual({ value: 2, origin: 'environment' });
  });

  it('salts a configured canary with its version, so that instances agree', () => {
    const { router } = testRouter({ canaryVersion: '2.0.0', weight: 5 });

    expect(router.snapshot()).toMatchObject({ salt: '2.0.0', weight: 5, active: true });
  });

  it('switches every rule off with guard: false', () => {
    const { config } = testRouter({ guard: false }).router.state();

    expect([config.guardMaxErrorRate, config.guardMaxLatencyMs, config.guardMaxErrorRatio]).toEqual(
      Array(3).fill({ value: false, origin: 'code' }),
    );
  });

  it('shows no secret in its documents and logs', () => {
    const { router, logger } = testRouter({ adminToken: 'hush-hush-1', overrideSecret: 'hush-hush-2' });

    const shown = JSON.stringify([router.state(), router.metrics(), logger.lines]) + router.prometheus();

    expect(shown).not.toContain('hush');
  });

  it('says when routing is switched off, and refuses releases', () => {
    const { router } = testRouter({ environment: { CANARY_ENABLED: 'false' }, canaryVersion: '2.0.0', weight: 100 });

    expect(router.snapshot().active).toBe(false);
    expect(router.begin({ userId: 'alice' }).assignment).toMatchObject({ cohort: 'stable', reason: 'disabled' });
  });

  it('warns of variables that look like typing errors', () => {
    const { logger } = testRouter({ environment: { CANARY_ERROR_THRESHOLD: '5%', PATH: '/bin' } });

    const warnings = logger.lines.filter(({ level }) => level === 'warn');
    expect(warnings.map(({ data }) => data)).toEqual([{ variable: 'CANARY_ERROR_THRESHOLD' }]);
  });
});

describe('a wrong environment variable', () => {
  it.each([
    ['CANARY_ENABLED', 'yes', 'true or false'],
    ['CANARY_TRAFFIC_PERCENT', '101', 'from 0 to 100'],
    ['CANARY_TRAFFIC_PERCENT', '-1', 'from 0 to 100'],
    ['CANARY_TRAFFIC_PERCENT', 'five', 'from 0 to 100'],
    ['CANARY_TRAFFIC_PERCENT', '1e1', 'from 0 to 100'],
    ['CANARY_TRAFFIC_PERCENT', 'NaN', 'from 0 to 100'],
    ['CANARY_VERSION', 'two words', 'visible ASCII'],
    ['STABLE_VERSION', 'x'.repeat(129), '128'],
    ['CANARY_SALT', 'zoë', 'visible ASCII'],
    ['CANARY_TRUST_PROXY', 'true', 'CIDR'],
    ['CANARY_TRUST_PROXY', '0', 'from 1 to 32'],
    ['CANARY_TRUST_PROXY', '10.0.0.0/33', 'CIDR'],
    ['CANARY_TRUST_PROXY', '10.0.0.0/8,', 'CIDR'],
    ['CANARY_COOKIE_SECURE', '0', 'true or false'],
    ['CANARY_MIN_REQUESTS', '0', 'an integer from 1'],
    ['CANARY_MIN_REQUESTS', '1.5', 'an integer from 1'],
    ['CANARY_ERROR_RATE_THRESHOLD', '1', 'such as 1%'],
    ['CANARY_ERROR_RATE_THRESHOLD', '5', 'such as 1%'],
    ['CANARY_LATENCY_THRESHOLD_MS', '0', 'above 0'],
    ['CANARY_LATENCY_THRESHOLD_MS', '2s', 'milliseconds'],
    ['CANARY_ERROR_RATIO_THRESHOLD', '0.5', 'from 1'],
    ['CANARY_GUARD_WINDOW_SECONDS', '301', 'from 1 to 300'],
  ])('%s=%s is an error that names it and what is allowed', (name, value, allowed) => {
    const [problem, ...more] = problemsOf({}, { [name]: value });

    expect(more).toEqual([]);
    expect(problem).toContain(`${name} is "${value.slice(0, 40)}`);
    expect(problem).toContain(allowed);
  });

  it('does not show a secret', () => {
    expect(problemsOf({}, { CANARY_ADMIN_TOKEN: 'two words' }).join()).not.toContain('two words');
  });

  it('is reported together with all others', () => {
    const problems = problemsOf({ weight: -1 }, { CANARY_ENABLED: 'maybe', CANARY_MIN_ERRORS: 'few' });

    expect(problems).toHaveLength(3);
    expect(problems.join()).toMatch(/option weight is -1/);
  });
});

describe('a wrong option', () => {
  it.each<[CohortRouterOptions, RegExp]>([
    [{ weight: 5 }, /option weight is 5, but no canary is set/],
    [{ weight: Number.NaN, canaryVersion: '2' }, /option weight/],
    [{ guard: { maxErrorRate: 1.5 } }, /option guard.maxErrorRate is 1.5/],
    [{ guard: { windowSeconds: 0 } }, /option guard.windowSeconds/],
    [{ versions: [] }, /option versions/],
    [{ versions: ['2.0.0'] }, /stableVersion is "1.0.0", which is not among the versions 2.0.0/],
    [{ trustProxy: ['nowhere'] }, /option trustProxy/],
    [{ anonymousId: { maxAgeDays: 401 } }, /option anonymousId.maxAgeDays is 401; allowed: days from 1 to 400/],
    [{ anonymousId: { name: 'a b' } }, /option anonymousId.name/],
    [{ anonymousId: { name: '__Host-id', secure: false } }, /only as a secure cookie/],
    [{ adminPath: 'canary' }, /option adminPath is "canary"/],
    [{ prometheusPath: '/metrics/' }, /option prometheusPath/],
  ])('%j is an error that names it', (options, message) => {
    expect(problemsOf(options).join('; ')).toMatch(message);
  });

  it('or a missing stable version is one that says how to set it', () => {
    expect(() => createCohortRouter({ environment: {} })).toThrow(
      'cohort router: the stable version is not known; pass the option stableVersion or set STABLE_VERSION',
    );
  });
});
