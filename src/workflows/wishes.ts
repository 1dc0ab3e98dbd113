import type { Actor, Wishes } from './api';
import { record } from './run';
import type { Run } from './run';

type Droppable = Pick<Wishes, 'promote' | 'weight' | 'skipSoak' | 'decision'>;

/**
 * Takes away what was asked for and is not carried out any more, and says so to each who asked: in the story, because
 * they were told that it would be. A weight above all: carried out after a failure, it would rise again.
 *
 * @param why ends the sentence "… is not carried out", as in `after the failure`.
 */
export function dropWishes(
  run: Run,
  why: string,
  which: readonly (keyof Droppable)[] = ['weight', 'promote', 'skipSoak', 'decision'],
): void {
  const { wishes } = run.state;
  for (const kind of which) {
    const dropped = said(wishes, kind);
    wishes[kind] = null;
    if (dropped === null) continue;
    const { what, actor } = dropped;
    record(run, 'messageIgnored', `The ${what} ${actor.name} is not carried out ${why}.`, {
      actor,
      step: run.state.step,
    });
  }
}

function said(wishes: Droppable, kind: keyof Droppable): { what: string; actor: Actor } | null {
  switch (kind) {
    case 'weight':
      return wishes.weight && { what: `weight ${wishes.weight.weight} % asked for by`, actor: wishes.weight.actor };
    case 'promote':
      return wishes.promote && { what: 'promotion asked for by', actor: wishes.promote.actor };
    case 'skipSoak':
      return wishes.skipSoak && { what: 'end of the soak asked for by', actor: wishes.skipSoak.actor };
    case 'decision':
      return (
        wishes.decision && {
          what: wishes.decision.approved ? 'approval by' : 'rejection by',
          actor: wishes.decision.actor,
        }
      );
  }
}
