import { evaluateFlag } from './evaluate';
import type { CompiledFlag, Evaluation, FlagSubject } from './evaluate';
import type { Ruleset } from './ruleset';
import type { UsageCounter, UsageRecorder } from './usage';

/** What a question about a flag came to. */
export type Checked =
  | { readonly kind: 'answered'; readonly flag: CompiledFlag; readonly evaluation: Evaluation }
  /** There is no such flag. */
  | { readonly kind: 'unknown' }
  /** Nothing was ever loaded: off, and counted. */
  | { readonly kind: 'unavailable' }
  /** The answer depends on a user, and none was named. */
  | { readonly kind: 'user-missing' };

interface Count {
  readonly variant: string;
  answers: number;
}

/** What this process counts of one flag: looked up once for each answer. */
class FlagCounts {
  readonly #recorder: UsageRecorder | null;
  #usage: UsageCounter | null;
  /** Since the start; of what the flag was before, too. */
  readonly #byVariant = new Map<string, Count>();
  #flag: CompiledFlag;
  #on: Count;
  #off: Count;

  constructor(flag: CompiledFlag, recorder: UsageRecorder | null) {
    this.#recorder = recorder;
    this.#usage = this.#usageOf(flag);
    this.#flag = flag;
    this.#on = this.#countOf(flag.on.name);
    this.#off = this.#countOf(flag.off.name);
  }

  add(flag: CompiledFlag, enabled: boolean, userId: string | null): void {
    if (flag !== this.#flag) {
      if (flag.createdAt !== this.#flag.createdAt) this.#usage = this.#usageOf(flag);
      this.#flag = flag;
      this.#on = this.#countOf(flag.on.name);
      this.#off = this.#countOf(flag.off.name);
    }
    (enabled ? this.#on : this.#off).answers += 1;
    this.#usage?.record(enabled, userId);
  }

  answers(): Iterable<Count> {
    return this.#byVariant.values();
  }

  #usageOf({ name, createdAt }: CompiledFlag): UsageCounter | null {
    return this.#recorder?.of(name, createdAt) ?? null;
  }

  #countOf(variant: string): Count {
    const known = this.#byVariant.get(variant);
    if (known !== undefined) return known;
    const count = { variant, answers: 0 };
    this.#byVariant.set(variant, count);
    return count;
  }
}

/** Asks flags and counts the answers. */
export class FlagChecks {
  readonly ruleset: Ruleset;
  readonly #usage: UsageRecorder | null;
  readonly #counts = new Map<string, FlagCounts>();

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
    let counts = this.#counts.get(name);
    if (counts === undefined) {
      counts = new FlagCounts(flag, this.#usage);
      this.#counts.set(name, counts);
    }
    counts.add(flag, evaluation.enabled, subject.userId);
    return { kind: 'answered', flag, evaluation };
  }

  /** Answers since the start, of flags that are still there. */
  *answers(): Iterable<{ readonly flag: CompiledFlag; readonly variant: string; readonly count: number }> {
    for (const [name, counts] of this.#counts) {
      const flag = this.ruleset.flag(name);
      if (flag === undefined) continue;
      for (const { variant, answers } of counts.answers()) if (answers > 0) yield { flag, variant, count: answers };
    }
  }
}
