import { evaluateFlag } from './evaluate';
import type { CompiledFlag, Evaluation, FlagSubject } from './evaluate';
import type { Ruleset } from './ruleset';
import type { UsageRecorder } from './usage';

/** What a question about a flag came to. */
export type Checked =
  | { readonly kind: 'answered'; readonly flag: CompiledFlag; readonly evaluation: Evaluation }
  /** There is no such flag. */
  | { readonly kind: 'unknown' }
  /** Nothing was ever loaded: off, and counted. */
  | { readonly kind: 'unavailable' }
  /** The answer depends on a user, and none was named. */
  | { readonly kind: 'user-missing' };

/** Asks flags and counts the answers. */
export class FlagChecks {
  readonly ruleset: Ruleset;
  readonly #usage: UsageRecorder | null;
  /** Answers since the start, by flag and variant. */
  readonly #answers = new Map<string, Map<string, number>>();

  constructor(ruleset: Ruleset, usage: UsageRecorder | null) {
    this.ruleset = ruleset;
    this.#usage = usage;
  }

  /** A flag's answer for somebody. No I/O, no waiting. */
  check(name: string, subject: FlagSubject): Checked {
    const flag = this.ruleset.flag(name);
    if (flag === undefined) {
      if (this.ruleset.state !== 'empty') return { kind: 'unknown' };
      this.ruleset.noteFallback(name);
      return { kind: 'unavailable' };
    }
    const evaluation = evaluateFlag(flag, subject);
    if (evaluation.rule === 'user-missing') return { kind: 'user-missing' };
    this.#usage?.record(name, evaluation.enabled, subject.userId);
    let variants = this.#answers.get(name);
    if (variants === undefined) {
      variants = new Map();
      this.#answers.set(name, variants);
    }
    variants.set(evaluation.variant, (variants.get(evaluation.variant) ?? 0) + 1);
    return { kind: 'answered', flag, evaluation };
  }

  /** Answers since the start, of flags that are still there. */
  *answers(): Iterable<{ readonly flag: string; readonly variant: string; readonly count: number }> {
    for (const [flag, variants] of this.#answers) {
      if (this.ruleset.flag(flag) === undefined) continue;
      for (const [variant, count] of variants) yield { flag, variant, count };
    }
  }
}
