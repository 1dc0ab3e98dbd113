import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../src/devserver/cache-directory';

const found = [process.env['SLUICE_FLAGS_PYTHON'], join(cacheDirectory(), 'flags-python', 'bin', 'python')].find(
  (file) => file !== undefined && existsSync(file),
);

/** The Python that has OFREP's provider and Schemathesis; the tests with it are skipped where there is none. */
export const flagsPython = found ?? '';

/** `describe` where there is that Python; elsewhere skips, and says so. */
export function describeWithPython(title: string, tests: () => void): void {
  if (found === undefined) {
    process.stderr.write(
      `skipped "${title}": no Python with OFREP's provider and Schemathesis; ./scripts/test fetches it\n`,
    );
  }
  (found === undefined ? describe.skip : describe)(title, tests);
}
