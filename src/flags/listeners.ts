/** Who wants to be told. */
export class Listeners {
  readonly #all = new Set<() => void>();

  add(listener: () => void): () => void {
    // An entry of its own, so that the same function added twice is removed once.
    const entry = (): void => listener();
    this.#all.add(entry);
    return () => this.#all.delete(entry);
  }

  tell(): void {
    for (const listener of [...this.#all]) listener();
  }
}
