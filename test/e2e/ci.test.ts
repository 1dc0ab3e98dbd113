import path from 'node:path';
import { BUILD_WITHIN_MS, builtSluice } from '../examples/built-sluice';
import { Checkout, readGitHubWorkflow, readGitLabFile } from '../examples/ci-jobs';
import { describeWithLab } from '../lab/describe-with-lab';
import type { ShopVersion } from '../lab/shop-images';
import { labSpec, startReleaseStack } from './release-stack';
import type { ReleaseStack } from './release-stack';
import { Scenario, together } from './scenario';

// A real cluster on a machine that may be busy: a limit for what hangs, and no measure of speed.
jest.setTimeout(600_000);

const CI = path.join(__dirname, '..', '..', 'examples', 'ci');

describeWithLab('the CI jobs that release an image to Kubernetes', (lab) => {
  const workflow = readGitHubWorkflow(path.join(CI, 'github', 'release-kubernetes.yml'));
  const gitlab = readGitLabFile(path.join(CI, 'gitlab', '.gitlab-ci.yml'));
  let stack: ReleaseStack;

  beforeAll(() => builtSluice(), BUILD_WITHIN_MS);
  beforeAll(async () => {
    stack = await startReleaseStack(lab);
  });
  afterAll(() => stack?.stop());

  const scenario =
    (play: (one: Scenario, checkout: Checkout) => Promise<void>) =>
    (name: string): Promise<void> =>
      Scenario.run(lab, stack, name, async (one) => {
        const checkout = new Checkout({ GITHUB_ACTOR: 'ada', GITLAB_USER_LOGIN: 'ada' });
        checkout.write('release.yaml', labSpec(lab, one.namespace));
        try {
          await play(one, checkout);
        } finally {
          checkout.remove();
        }
      });

  /** As the job that pushed it would hand it over. */
  async function digestOf(version: ShopVersion): Promise<string> {
    const answer = await fetch(`http://${lab.registry}/v2/shop/manifests/${version}`, {
      method: 'HEAD',
      // The form that it was pushed in: of another the registry makes one up, with a digest that nobody can pull.
      headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' },
    });
    return answer.headers.get('docker-content-digest') ?? `none: the registry answered ${answer.status}`;
  }

  async function github(version: ShopVersion): Promise<Record<string, string>> {
    return {
      'vars.TEMPORAL_ADDRESS': stack.address,
      'vars.TEMPORAL_NAMESPACE': 'default',
      'vars.IMAGE': `${lab.registry}/shop`,
      'needs.build.outputs.version': `${version}-3-gabc1234`,
      'needs.build.outputs.digest': await digestOf(version),
    };
  }

  together({
    'GitHub: the digest that was built is what is promoted': scenario(async (one, checkout) => {
      const { code, log } = await checkout.runGitHubJob(workflow, 'release', await github('v2'));

      expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
      const status = await one.ended();
      expect(status.version.artifact).toBe(`${lab.registry}/shop@${await digestOf('v2')}`);
      expect(status.reason).toBe('v2-3-gabc1234');
      expect(checkout.read('github-summary')).toMatch(/^### Release of v2-3-gabc1234: promoted\n/);
      await one.expectAllNew(status);
    }),

    'GitHub: the job fails with the reason when the image is rolled back': scenario(async (one, checkout) => {
      const { code, log } = await checkout.runGitHubJob(workflow, 'release', await github('v3'));

      const status = await one.ended();
      expect({ code, outcome: status.outcome }).toEqual({ code: 3, outcome: 'rolledBack' });
      expect(log).toContain(`::error title=v3-3-gabc1234 was not promoted (rolledBack)::${status.message}\n`);
      expect(checkout.read('github-summary')).toContain('error-rate');
      await one.expectAllOld(status, 'v3');
    }),

    'GitLab: the digest that was built is what is promoted': scenario(async (one, checkout) => {
      const image = `${lab.registry}/shop@${await digestOf('v2')}`;
      const { code, log } = await checkout.runGitLabJob(gitlab, 'release-kubernetes', {
        TEMPORAL_ADDRESS: stack.address,
        TEMPORAL_NAMESPACE: 'default',
        VERSION: 'abc1234',
        IMAGE: image,
      });

      expect({ code, log: code === 0 ? '' : log }).toEqual({ code: 0, log: '' });
      const status = await one.ended();
      expect(status.version.artifact).toBe(image);
      expect(checkout.read('release.md')).toMatch(/^### Release of abc1234: promoted\n/);
      await one.expectAllNew(status);
    }),
  });
});
