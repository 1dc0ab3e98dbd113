import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describeWithPython, flagsPython } from './flags-python';
import { serveFlags, stopServers } from './serve';

/** Evaluates each type with OpenFeature's SDK for Python, and prints what came of it. */
const PROGRAM = `
import json, sys
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.contrib.provider.ofrep import OFREPProvider

api.set_provider(OFREPProvider(sys.argv[1], headers_factory=lambda: {"Authorization": "Bearer " + sys.argv[2]}))
client = api.get_client()
user = EvaluationContext("user-1", {"plan": "pro"})

def told(details):
    return [details.value, str(details.reason), details.variant, str(details.error_code) if details.error_code else None]

print(json.dumps({
    "boolean": told(client.get_boolean_details("new-checkout", False, user)),
    "off": told(client.get_boolean_details("switched-off", True, user)),
    "integer": told(client.get_integer_details("limit", 0, user)),
    "float": told(client.get_float_details("share", 0.1, user)),
    "string": told(client.get_string_details("colour", "none", user)),
    "object": told(client.get_object_details("config", {}, user)),
    "gone": told(client.get_boolean_details("gone", True, user)),
    "nobody": told(client.get_boolean_details("new-checkout", True)),
}))
`;
const KEY = 'a-key-of-this-test-alone';
const FLAGS = [
  { name: 'new-checkout', enabled: true, rollout_percentage: 84 },
  { name: 'switched-off', enabled: false },
  { name: 'limit', enabled: true, variants: { values: { low: 5, high: 10 }, on: 'high', default: 'low' } },
  { name: 'share', enabled: true, variants: { values: { tenth: 0.1, half: 0.5 }, on: 'half', default: 'tenth' } },
  { name: 'colour', enabled: true, variants: { values: { a: 'blue', b: 'red' }, on: 'b', default: 'a' } },
  { name: 'config', enabled: true, variants: { values: { a: {}, b: { size: 3 } }, on: 'b', default: 'a' } },
];

describeWithPython('OpenFeature for Python, with the OFREP provider as it is', () => {
  afterEach(stopServers);

  it('evaluates every type, and takes its default where it should', async () => {
    const access = { adminKey: KEY };
    const { url } = await serveFlags(FLAGS, { access }, { authorization: `Bearer ${KEY}` });

    const { stdout } = await promisify(execFile)(flagsPython, ['-c', PROGRAM, url, KEY], { timeout: 60_000 });

    expect(JSON.parse(stdout)).toEqual({
      boolean: [true, 'SPLIT', 'on', null],
      off: [false, 'DISABLED', 'off', null],
      integer: [10, 'STATIC', 'high', null],
      float: [0.5, 'STATIC', 'half', null],
      string: ['red', 'STATIC', 'b', null],
      object: [{ size: 3 }, 'STATIC', 'b', null],
      gone: [true, 'ERROR', null, 'FLAG_NOT_FOUND'],
      nobody: [true, 'ERROR', null, 'TARGETING_KEY_MISSING'],
    });
  });
});
