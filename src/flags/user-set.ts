/** A set of user ids that never changes. */
export interface UserSet {
  readonly size: number;
  has(user: string): boolean;
}

/** Slots for each user, so that chains stay short. */
const SLOTS_PER_USER = 1.5;

/**
 * Users in one text and two typed arrays. A `Set` of strings takes some 60 bytes a user beside the id itself; with ten
 * million listed users, as a server of many flags may have, that is the difference between 0.3 and 1 GB.
 */
class PackedUserSet implements UserSet {
  readonly size: number;
  readonly #text: string;
  /** Where each user begins in the text; one more entry marks the end. */
  readonly #starts: Uint32Array;
  /** Open addressing: the user's number plus one, 0 for a free slot. */
  readonly #slots: Uint16Array | Uint32Array;

  constructor(users: readonly string[]) {
    this.size = users.length;
    // A joined text is flat and of one byte a character where all ids are Latin-1.
    this.#text = Buffer.from(users.join('')).toString('utf8');
    this.#starts = new Uint32Array(users.length + 1);
    const slots = Math.ceil(users.length * SLOTS_PER_USER) + 1;
    this.#slots = users.length < 0xffff ? new Uint16Array(slots) : new Uint32Array(slots);
    let at = 0;
    for (const [index, user] of users.entries()) {
      this.#starts[index] = at;
      at += user.length;
      let slot = hashOf(user) % slots;
      while (this.#slots[slot] !== 0) slot = slot + 1 === slots ? 0 : slot + 1;
      this.#slots[slot] = index + 1;
    }
    this.#starts[users.length] = at;
  }

  has(user: string): boolean {
    const slots = this.#slots.length;
    for (let slot = hashOf(user) % slots; ; slot = slot + 1 === slots ? 0 : slot + 1) {
      const entry = this.#slots[slot] as number;
      if (entry === 0) return false;
      const start = this.#starts[entry - 1] as number;
      const end = this.#starts[entry] as number;
      if (end - start === user.length && this.#text.startsWith(user, start)) return true;
    }
  }
}

const NOBODY: UserSet = { size: 0, has: () => false };

/** The set of these users; they are well-formed Unicode, and none is named twice. */
export function userSet(users: readonly string[]): UserSet {
  return users.length === 0 ? NOBODY : new PackedUserSet(users);
}

/** FNV-1a over UTF-16 units. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
