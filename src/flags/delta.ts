import { randomUUID } from 'node:crypto';

/** Which delta it is, so that one that is sent again, because nobody said whether it was counted, is counted once. */
export interface DeltaIdentity {
  /** Whose; it has the next one sent when this one was taken, so a store needs to remember only the last of each. */
  readonly source: string;
  /** Higher with each of a source: what comes late is not taken for something new. */
  readonly number: number;
}

/** Gives the deltas of one recorder their identities. */
export class DeltaIdentities {
  readonly #recorder = randomUUID();
  #number = 0;

  /** @param what - the deltas that come one after the other, such as those of a flag */
  next(what: string): DeltaIdentity {
    this.#number += 1;
    return { source: `${this.#recorder}:${what}`, number: this.#number };
  }
}
