import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { flagsPython } from './flags-python';

/** Made-up requests of each operation beside those that look at its bounds one by one; the same in each run. */
const EXAMPLES = 10;
export const PATIENCE_MS = 240_000;

export interface Fuzzing {
  readonly url: string;
  /** An API key. */
  readonly key: string;
  /** Schemathesis' settings, TOML. */
  readonly config: string;
  readonly more?: readonly string[];
}

/** What Schemathesis says of a service by an OpenAPI document; its own words are the failure's. */
export async function fuzz(
  document: unknown,
  { url, key, config, more = [] }: Fuzzing,
): Promise<{ code: number; said: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-fuzz-'));
  const location = join(folder, 'openapi.json');
  const settings = join(folder, 'schemathesis.toml');
  await writeFile(location, JSON.stringify(document));
  await writeFile(settings, config);
  const args = [
    ...['-m', 'schemathesis.cli', '--config-file', settings, 'run', location, '--url', url],
    ...['--header', `Authorization: Bearer ${key}`, '--max-examples', String(EXAMPLES)],
    ...['--generation-deterministic', '--continue-on-failure', '--phases', 'examples,coverage,fuzzing'],
    ...['--suppress-health-check', 'all', '--warnings', 'off', '--no-color'],
    ...more,
  ];
  try {
    return await new Promise((resolve, reject) => {
      const options = { cwd: folder, timeout: PATIENCE_MS - 20_000, maxBuffer: 64 * 2 ** 20 };
      execFile(flagsPython, args, options, (error, stdout, stderr) => {
        if (error === null) resolve({ code: 0, said: stdout });
        else if (typeof error.code === 'number') resolve({ code: error.code, said: `${stdout}${stderr}` });
        else reject(new Error(`Schemathesis came to no end: ${error.message}`, { cause: error }));
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
