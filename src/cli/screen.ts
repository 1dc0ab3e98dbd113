import { displayWidth } from './display-width';

/** What a screen writes to; `process.stdout` is one. */
export interface TerminalStream {
  write(text: string): unknown;
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
}

const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';
/** At most 5 frames a second: more is flicker and, over a slow link, lag. */
export const FRAME_MS = 200;

/**
 * Redraws a block of lines in place at the end of the terminal's scrollback. The last frame stays. Why not clear the
 * screen: what was there before belongs to the user.
 */
export class Screen {
  readonly #stream: TerminalStream;
  #drawn: readonly string[] = [];

  constructor(stream: TerminalStream) {
    this.#stream = stream;
  }

  /** Draws only when something changed. More lines than the terminal has are cut at the top but for the first. */
  draw(lines: readonly string[]): void {
    this.#draw(this.#fit(lines));
  }

  /** Draws the last frame whole, since nothing will be drawn over it, and gives the cursor back below it. */
  finish(lines: readonly string[] = this.#drawn): void {
    if (lines.length === 0) return;
    this.#draw(lines);
    this.#stream.write(SHOW_CURSOR);
    this.#drawn = [];
  }

  #draw(fitted: readonly string[]): void {
    if (fitted.length === this.#drawn.length && fitted.every((line, index) => line === this.#drawn[index])) return;
    const start = this.#drawn.length === 0 ? HIDE_CURSOR : this.#home();
    this.#stream.write(`${start}${fitted.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
    this.#drawn = fitted;
  }

  #fit(lines: readonly string[]): readonly string[] {
    const room = (this.#stream.rows ?? Number.POSITIVE_INFINITY) - 1;
    if (lines.length <= room || room < 2) return lines;
    return [...lines.slice(0, 1), ...lines.slice(lines.length - room + 1)];
  }

  /** Back to the frame's first line. Lines drawn before the terminal was made narrower take several rows now. */
  #home(): string {
    const columns = this.#stream.columns || Number.POSITIVE_INFINITY;
    let rows = 0;
    for (const line of this.#drawn) rows += Math.max(1, Math.ceil(displayWidth(line) / columns));
    return `\x1b[${rows}A\r`;
  }
}
