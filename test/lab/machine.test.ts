import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { findNamedLab } from './lab';
import { checkMachine, whyNoLab } from './machine';

describe('where a lab can run', () => {
  const { platform } = process;
  const { PATH } = process.env;

  afterEach(() => {
    jest.restoreAllMocks();
    Object.defineProperty(process, 'platform', { value: platform });
    process.env['PATH'] = PATH;
  });

  it('is Linux', () => {
    Object.defineProperty(process, 'platform', { value: 'darwin' });

    expect(whyNoLab()).toBe("The lab runs containers by Linux's own means, and this machine's system is darwin.");
  });

  it('needs root, and says what does without', () => {
    Object.defineProperty(process, 'platform', { value: 'linux' });
    jest.spyOn(process, 'getuid').mockReturnValue(1000);

    expect(whyNoLab()).toBe('The lab makes containers, cgroups and a bridge, which only root may do.');
    expect(checkMachine).toThrow(expect.objectContaining({ hint: expect.stringContaining('kind') as string }));
  });

  it("names every variable without which a cluster of somebody's own is not found", () => {
    Object.defineProperty(process, 'platform', { value: 'darwin' });
    const env = {
      KUBECONFIG: '/kubeconfig',
      SLUICE_LAB_GATEWAY_URL: 'http://127.0.0.1:8000',
      SLUICE_LAB_PROMETHEUS_URL: 'http://127.0.0.1:9090',
      SLUICE_LAB_REGISTRY: '127.0.0.1:5000',
    };

    expect(findNamedLab(env)).toMatchObject({ kubeconfig: '/kubeconfig', listenerPort: 8000 });
    for (const name of Object.keys(env)) {
      expect(findNamedLab({ ...env, [name]: undefined })).toBeUndefined();
      expect(checkMachine).toThrow(expect.objectContaining({ hint: expect.stringContaining(name) as string }));
    }
  });

  it('names a program that is missing, and where it comes from', () => {
    const empty = mkdtempSync(path.join(tmpdir(), 'sluice-empty-'));
    Object.defineProperty(process, 'platform', { value: 'linux' });
    jest.spyOn(process, 'getuid').mockReturnValue(0);
    process.env['PATH'] = empty;

    // `ip` is looked for in the administrator's folders too; apt-get is in neither of those.
    expect(whyNoLab()).toMatch(/^The lab needs the program [\w-]+, which this machine lacks \(it comes with .+\)\.$/u);

    rmSync(empty, { recursive: true });
  });
});
