import { ReleaseError } from '../../errors';
import type { TrackName } from '../../spec/plan-types';
import type { Registry } from '../registry';
import { addShortOptions, startShort } from '../short-release';
import type { ShortOptions } from '../short-release';

const TRACKS: readonly TrackName[] = ['canary', 'blue', 'green'];

/** `sluice cleanup`: takes away what is left of a track without a release. */
export function addCleanupCommand(registry: Registry): void {
  const command = registry.add('cleanup <track>', 'Take away what is left of a track: its traffic, then its pods', [
    'sluice cleanup canary -f release.yaml',
    'sluice cleanup blue -f release.yaml --yes --wait',
    'sluice cleanup canary -f release.yaml --dry-run',
  ]);
  addShortOptions(command).action(async (track: string, options: ShortOptions) => {
    await registry.run(command, (session) =>
      startShort(session, options.file, { kind: 'cleanup', track: parseTrack(track) }, options),
    );
  });
}

function parseTrack(text: string): TrackName {
  const track = TRACKS.find((one) => one === text);
  if (track !== undefined) return track;
  throw new ReleaseError('usage', `There is no track ${JSON.stringify(text)} to clean up.`, {
    hint: `Choose one of: ${TRACKS.join(', ')}.`,
  });
}
