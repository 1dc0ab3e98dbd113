import { ReleaseError } from '../../errors';
import type { TrackName } from '../../spec/plan-types';
import type { Registry } from '../registry';
import type { Session } from '../session';
import { addShortOptions, startShort } from '../short-release';
import type { ShortOptions } from '../short-release';
import { planAnyVersion } from '../spec-file';

const TRACKS: readonly TrackName[] = ['canary', 'blue', 'green'];

/** `sluice cleanup`: takes away what is left of a track without a release. */
export function addCleanupCommand(registry: Registry): void {
  const command = registry.add('cleanup <track>', 'Take away what is left of a track: its traffic, then its pods', [
    'sluice cleanup canary -f release.yaml',
    'sluice cleanup blue -f release.yaml --yes --wait',
    'sluice cleanup canary -f release.yaml --dry-run',
  ]);
  addShortOptions(command.usage('[options] <track> -f <release.yaml>')).action(
    async (track: string, options: ShortOptions) => {
      await registry.run(command, async (session) =>
        startShort(
          session,
          options.file,
          { kind: 'cleanup', track: await parseTrack(session, track, options.file) },
          options,
        ),
      );
    },
  );
}

async function parseTrack(session: Session, text: string, file: string | undefined): Promise<TrackName> {
  const track = TRACKS.find((one) => one === text);
  if (track !== undefined) return track;
  throw new ReleaseError('usage', `There is no track ${JSON.stringify(text)} to clean up.`, {
    hint:
      file === undefined
        ? 'Choose canary, or of the strategy blueGreen blue or green. The service is named by its spec: sluice cleanup canary -f release.yaml.'
        : await allowedBy(session, file),
  });
}

/** Which tracks there are is the strategy's: a canary's spec has no colours, and the other way round. */
async function allowedBy(session: Session, file: string): Promise<string> {
  const { target } = await planAnyVersion(session, file);
  if (target.kind !== 'kubernetes') return `The ${target.kind} of ${file} has no tracks to clean up.`;
  const which = target.strategy === 'blueGreen' ? 'blue or green' : 'canary';
  return `Write ${which}: the strategy of ${file} is ${target.strategy}.`;
}
