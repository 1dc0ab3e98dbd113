import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { ReleaseStatus } from '../../src/workflows/api';
import { startLoad, startShop } from '../integration/shop';
import type { Load, Shop } from '../integration/shop';
import { startStack } from '../integration/stack';
import type { Stack } from '../integration/stack';
import { BUILD_WITHIN_MS, builtSluice } from './built-sluice';
import { Checkout, readGitHubWorkflow, readGitLabFile } from './ci-jobs';
import { fencedBlocks } from './markdown';

const CI = path.join(__dirname, '..', '..', 'examples', 'ci');
const files = {
  release: path.join(CI, 'github', 'release.yml'),
  kubernetes: path.join(CI, 'github', 'release-kubernetes.yml'),
  approval: path.join(CI, 'github', 'release-with-approval.yml'),
  gitlab: path.join(CI, 'gitlab', '.gitlab-ci.yml'),
  spec: path.join(CI, 'release.yaml'),
};
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}`;
const SERVICE = { service: 'shop', namespace: 'production' };

describe('the scripts of the CI jobs, against a real Temporal, worker and shop', () => {
  const workflow = readGitHubWorkflow(files.release);
  const withApproval = readGitHubWorkflow(files.approval);
  const gitlab = readGitLabFile(files.gitlab);
  let stack: Stack;
  let shops: Shop[] = [];
  let load: Load;
  let checkout: Checkout;

  beforeAll(async () => {
    await builtSluice();
    stack = await startStack();
    await stack.startWorker();
  }, BUILD_WITHIN_MS);

  beforeEach(async () => {
    shops = [await startShop(), await startShop()];
    for (const shop of shops) shop.statuses.set('v3', () => (shop.router.snapshot().weight >= 25 ? 500 : 200));
    load = startLoad(
      shops.map(({ url }) => url),
      { perSecond: 200 },
    );
    checkout = new Checkout({ GITHUB_ACTOR: 'ada', GITLAB_USER_LOGIN: 'ada' });
    checkout.write('release.yaml', spec());
  });

  afterEach(async () => {
    await load.stop();
    for (const shop of shops) await shop.stop();
    checkout.remove();
  });

  afterAll(() => stack.stop(), 60_000);

  /** The example's, for the shops of this test and with soaks of seconds. */
  function spec(step = ''): string {
    const [first = '', second = ''] = shops.map(({ url }) => url);
    return readFileSync(files.spec, 'utf8')
      .replace('http://10.0.0.7:3000', first)
      .replace('http://10.0.0.8:3000', second)
      .replaceAll('soak: 60s', 'soak: 2s')
      .replace('interval: 5s', 'interval: 1s')
      .replace('    - { weight: 25', `${step}    - { weight: 25`);
  }

  /** What GitHub fills in. */
  function github(version: string): Record<string, string> {
    return {
      'vars.TEMPORAL_ADDRESS': stack.temporal.address,
      'vars.TEMPORAL_NAMESPACE': 'default',
      'vars.IMAGE': 'acme/shop',
      'needs.build.outputs.version': version,
      'needs.build.outputs.digest': DIGEST,
      'inputs.version': version,
      'inputs.image': `acme/shop@${DIGEST}`,
    };
  }

  function gitlabVariables(version: string): Record<string, string> {
    return {
      TEMPORAL_ADDRESS: stack.temporal.address,
      TEMPORAL_NAMESPACE: 'default',
      VERSION: version,
      IMAGE: `acme/shop@${DIGEST}`,
    };
  }

  function stableVersions(): (string | null)[] {
    return shops.map(({ router }) => router.snapshot().stableVersion);
  }

  async function untilStatus(holds: (status: ReleaseStatus) => boolean): Promise<ReleaseStatus> {
    for await (const status of stack.client.watch(SERVICE, { everyMs: 100 })) if (holds(status)) return status;
    throw new Error('the release ended before');
  }

  it('GitHub: the job succeeds when the release is promoted', async () => {
    const { code, log } = await checkout.runGitHubJob(workflow, 'release', github('v2'));

    expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
    expect(stableVersions()).toEqual(['v2', 'v2']);
    expect(checkout.read('github-summary')).toMatch(/^### Release of v2: promoted\n/);
    expect(checkout.read('github-summary')).toContain(`acme/shop@${DIGEST}`);
    expect(log).not.toContain('::error');
    const status = await stack.client.status(SERVICE);
    expect(JSON.stringify(status)).toContain(DIGEST);
    expect(JSON.stringify(status)).toContain('"via":"ci"');
  }, 120_000);

  it('GitHub: the job fails with the reason when the release is rolled back', async () => {
    const { code, log } = await checkout.runGitHubJob(workflow, 'release', github('v3'));

    const { outcome, message } = await stack.client.status(SERVICE);
    expect({ code, outcome }).toEqual({ code: 3, outcome: 'rolledBack' });
    expect(stableVersions()).toEqual(['v1', 'v1']);
    expect(log).toContain(`::error title=v3 was not promoted (rolledBack)::${message}\n`);
    const summary = checkout.read('github-summary');
    expect(summary).toMatch(/^### Release of v3: rolledBack\n/);
    expect(summary).toContain(message);
    expect(summary).toContain('error-rate');
  }, 120_000);

  it('GitHub: the job fails with the reason when nothing could be started', async () => {
    checkout.write('release.yaml', spec().replace('weight: 25', 'weight: 3'));

    const { code, log } = await checkout.runGitHubJob(workflow, 'release', github('v2'));

    expect(code).toBe(2);
    expect(log).toMatch(/::error title=v2 was not promoted \(not finished\)::.*release\.yaml/);
    expect(checkout.read('github-summary')).toMatch(/^### Release of v2: not finished\n/);
  }, 120_000);

  it('GitHub: a cancelled job lets go of the release, and a later one finds its end', async () => {
    const cancelled = await checkout.runGitHubJob(workflow, 'release', github('v2'), (step, child) => {
      if (step !== 'Release') return;
      // Once it tells of the release it follows it, and no longer only starts it.
      let said = '';
      child.stderr?.on('data', (chunk: Buffer) => {
        if (/weight/i.test(said)) return;
        said += chunk.toString();
        if (/weight/i.test(said)) child.kill('SIGINT');
      });
    });

    expect(cancelled.code).toBe(130);
    expect(cancelled.log).toContain('The release continues.');
    expect(checkout.read('github-summary')).toMatch(/^### Release of v2: not finished\n/);
    const { release, outcome } = await stack.client.status(SERVICE);
    expect(outcome).toBeNull();

    const later = { ...github('v2'), 'inputs.release': release };
    const { code, log } = await checkout.runGitHubJob(withApproval, 'finish', later);

    expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
    expect(stableVersions()).toEqual(['v2', 'v2']);
  }, 120_000);

  it('GitHub: a release that waits for an approval is started, pending, approved and promoted', async () => {
    checkout.write('release.yaml', spec('    - approve: { timeout: 4h }\n'));

    const start = await checkout.runGitHubJob(withApproval, 'start', github('v2'));
    expect({ code: start.code, log: start.code === 0 ? '' : start.log }).toEqual({ code: 0, log: '' });
    const summary = checkout.read('github-summary');
    const approve = /approve: `(.+)`/.exec(summary)?.[1] ?? '';
    const release = /^### Release (\S+) of v2 has started\n/.exec(summary)?.[1] ?? '';
    await untilStatus(({ phase }) => phase === 'awaitingApproval');

    const later = { ...github('v2'), 'inputs.release': release };
    const pending = await checkout.runGitHubJob(withApproval, 'finish', later);
    expect(pending.code).toBe(8);
    expect(pending.log).toContain(`::error title=Release ${release} (code 8)::`);

    const { TEMPORAL_ADDRESS = '', TEMPORAL_NAMESPACE = '' } = gitlabVariables('v2');
    const approved = await checkout.run(approve, { TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE });
    expect({ code: approved.code, log: approved.code === 0 ? '' : approved.log }).toEqual({ code: 0, log: '' });

    const { code, log } = await checkout.runGitHubJob(withApproval, 'finish', later);
    expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
  }, 180_000);

  it('GitLab: the job succeeds when the release is promoted', async () => {
    const { code, log } = await checkout.runGitLabJob(gitlab, 'release', gitlabVariables('v2'));

    expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
    expect(checkout.read('release.md')).toMatch(/^### Release of v2: promoted\n/);
    expect(stableVersions()).toEqual(['v2', 'v2']);
  }, 120_000);

  it('GitLab: the job fails with the reason when the release is rolled back', async () => {
    const { code, log } = await checkout.runGitLabJob(gitlab, 'release', gitlabVariables('v3'));

    const { message } = await stack.client.status(SERVICE);
    expect(code).toBe(3);
    expect(log).toContain(message);
    expect(checkout.read('release.md')).toMatch(/^### Release of v3: rolledBack\n/);
    expect(checkout.read('release.md')).toContain(message);
  }, 120_000);

  it('GitLab: one job starts a release, a later one ends as it ended', async () => {
    const start = await checkout.runGitLabJob(gitlab, 'start', gitlabVariables('v2'));
    expect({ code: start.code, log: start.code === 0 ? '' : start.log }).toEqual({ code: 0, log: '' });
    const [name = '', release = ''] = checkout.read('started.env').trim().split('=');

    const { code, log } = await checkout.runGitLabJob(gitlab, 'finish', { ...gitlabVariables('v2'), [name]: release });

    expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
    expect(checkout.read('release.md')).toMatch(/: promoted\n/);
  }, 120_000);
});

describe('the CI files', () => {
  const builders = { 'release.yml': files.release, 'release-kubernetes.yml': files.kubernetes };
  const workflows = { ...builders, 'release-with-approval.yml': files.approval };

  it.each(Object.entries(workflows))('%s: no script has an expression filled into its text', (_, file) => {
    // What comes from outside (a branch's name, a tag) would be run as a part of the script; variables are not.
    for (const { steps } of Object.values(readGitHubWorkflow(file).jobs)) {
      for (const { run } of steps) expect(run ?? '').not.toContain('${{');
    }
  });

  it.each(Object.entries(builders))(
    '%s: the release job gets version and digest from the job that builds',
    (_, file) => {
      const { jobs } = readGitHubWorkflow(file);
      const build = jobs['build'];
      const ids = build?.steps.map(({ id }) => id);

      expect(jobs['release']?.needs).toBe('build');
      for (const value of Object.values(jobs['release']?.env ?? {})) {
        for (const [, output = ''] of value.matchAll(/needs\.build\.outputs\.(\w+)/g)) {
          const [, step] = /steps\.(\w+)\.outputs/.exec(build?.outputs[output] ?? '') ?? [];
          expect(ids).toContain(step);
        }
      }
      expect(jobs['release']?.env['IMAGE']).toContain('needs.build.outputs.digest');
    },
  );

  it('report alike, whatever they release', () => {
    const [one, other] = Object.values(builders).map((file) =>
      readGitHubWorkflow(file).jobs['release']?.steps.find(({ name }) => name === 'Report'),
    );

    expect(one?.run).toContain('sluice explain');
    expect(other).toEqual(one);
  });

  it('are what docs/ci.md shows', () => {
    const page = readFileSync(path.join(CI, '..', '..', 'docs', 'ci.md'), 'utf8');
    const shown = fencedBlocks(page, 'yaml');
    const lines = Object.values(files).map((file) => unindented(readFileSync(file, 'utf8')));

    expect(shown.length).toBeGreaterThanOrEqual(3);
    for (const block of shown) expect(lines.filter((text) => text.includes(unindented(block)))).not.toEqual([]);
  });
});

/** Without indentation, so that a part of a file can be found in it. */
function unindented(text: string): string {
  return text.replace(/^\s+/gm, '');
}
