/** Who wants to be told. */
export class Listeners<Told = void> {
  readonly #all = new Set<(told: Told) => void>();

  add(listener: (told: Told) => void): () => void {
    // An entry of its own, so that the same function added twice is removed once.
    const entry = (told: Told): void => listener(told);
    this.#all.add(entry);
    return () => this.#all.delete(entry);
  }

  tell(told: Told): void {
    for (const listener of [...this.#all]) listener(told);
  }
}
