/** At most so many characters; a text that was cut says so by its end. */
export function cutText(text: string, chars: number): string {
  return text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
}

/** What a value takes at most as JSON in UTF-8. */
export function bytesAsJson(value: object): number {
  const text = JSON.stringify(value);
  // At most three bytes for each of the other characters of a string of UTF-16.
  return text.length + 2 * (text.match(/[^\u0000-\u007f]/gu)?.length ?? 0);
}
