/** `2026-11-21 14:03:07Z`: how stories and the status write a time, and how the command line does. */
export function instant(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/u, 'Z');
}
