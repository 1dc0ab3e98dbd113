import type { Actor, SignalPayload } from './api';

/** What can be read from a signal, whatever was sent. */
export function readSignal(payload: unknown): {
  actor: Actor;
  /** It says by whom. */
  named: boolean;
  reason: string | null;
} {
  // A bare text is what people type first; it is the reason.
  const { by, groups, reason }: { [key in keyof SignalPayload]: unknown } =
    typeof payload === 'string' ? { reason: payload } : typeof payload === 'object' && payload !== null ? payload : {};
  const named = typeof by === 'string' && by !== '';
  const known = Array.isArray(groups) ? groups.filter((group) => typeof group === 'string') : [];
  return {
    actor: {
      name: named ? by : 'someone with access to Temporal',
      ...(known.length === 0 ? {} : { groups: known }),
      via: 'signal',
    },
    named,
    reason: typeof reason === 'string' ? reason : null,
  };
}
