import { parse, parseOptions } from './arguments';

describe('the arguments of scripts/lab', () => {
  it.each([
    [['--bogus'], "Unknown option '--bogus'."],
    [['-x'], "Unknown option '-x'."],
    [['twice'], "scripts/lab up takes no argument, and was given 'twice'."],
  ])('of a command without any refuse %j', (args, message) => {
    expect(() => parseOptions('up', args, {})).toThrow(
      expect.objectContaining({ code: 'usage', message, hint: expect.stringContaining('It has no options') }),
    );
  });

  it('name the options that there are', () => {
    const options = { version: { type: 'string' }, replicas: { type: 'string' } } as const;

    expect(() => parse(['shop', '--bogus', '1'], options)).toThrow(
      expect.objectContaining({ message: "Unknown option '--bogus'.", hint: 'Allowed: --version, --replicas.' }),
    );
    expect(parse(['shop', '--version', 'v2'], options)).toMatchObject({ values: { version: 'v2' } });
    expect(parseOptions('build', ['--api-server'], { 'api-server': { type: 'boolean' } })['api-server']).toBe(true);
  });
});
