import { pino } from 'pino';
import { LOG_SERIALIZERS } from '../../src/worker/log-serializers';

function logged(error: unknown): Record<string, unknown> {
  let line = '';
  const logger = pino({ serializers: LOG_SERIALIZERS }, { write: (json: string) => void (line = json) });
  logger.error({ error }, 'Activity failed');
  return (JSON.parse(line) as { error: Record<string, unknown> }).error;
}

describe('an error in the log', () => {
  it('says its name, its message, where it was thrown and what caused it', () => {
    const error = new TypeError('outer', { cause: new Error('inner', { cause: new RangeError('innermost') }) });

    expect(logged(error)).toMatchObject({
      type: 'TypeError',
      message: 'outer',
      stack: expect.stringContaining('log-serializers.test') as unknown,
      causes: ['Error: inner', 'RangeError: innermost'],
    });
  });

  it('leaves out what else it carries, such as a request with its token', () => {
    const error = Object.assign(new Error('refused'), {
      config: { headers: { Authorization: 'Bearer secret-token' } },
    });

    expect(JSON.stringify(logged(error))).not.toContain('secret-token');
  });

  it('leaves alone what is no error', () => {
    expect(logged({ code: 7 })).toEqual({ code: 7 });
  });
});
