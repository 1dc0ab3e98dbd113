import { createRequire } from 'node:module';
import { join } from 'node:path';

interface Scripts {
  findPostgres(options: {
    readonly cacheDir: string;
    readonly onProgress: (line: string) => void;
  }): Promise<{ readonly path: string } | { readonly reason: string }>;
}

/** What the project's scripts find, from the built benchmark: those are not compiled with it. */
export function scriptsOf(): Scripts {
  // .sluice/bench/bench/flags
  return createRequire(__filename)(
    join(__dirname, '..', '..', '..', '..', 'scripts', 'lib', 'find-postgres.cjs'),
  ) as Scripts;
}
