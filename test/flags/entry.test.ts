import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(__dirname, '..', '..');

describe('sluice/flags', () => {
  it('loads neither a server nor an SDK nor what only tokens need', () => {
    const program = `
      require('./src/flags/index.ts');
      const loaded = Object.keys(require.cache).map((file) => /node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1]);
      console.log(JSON.stringify([...new Set(loaded)]));
    `;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ['--require', join(ROOT, 'scripts', 'lib', 'ts-register.cjs'), '-e', program],
      { cwd: ROOT, encoding: 'utf8' },
    );

    expect(stderr).toBe('');
    const packages = JSON.parse(stdout) as string[];
    expect(packages).toEqual(expect.arrayContaining(['zod', '@redis/client']));
    expect(packages.filter((name) => ['fastify', 'jose', '@openfeature/server-sdk'].includes(name))).toEqual([]);
  });
});
