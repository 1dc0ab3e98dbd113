import { markup } from './html';
import type { Html, Part } from './html';

/** The column of sentences takes the room there is; all others are short. */
export function table(headings: readonly string[], rows: readonly (readonly Part[])[]): Html {
  const wide = headings.findIndex((heading) => heading === 'Why' || heading === 'What');
  return markup`<div class="table">
    <table>
      <thead>
        <tr>
          ${headings.map((heading) => markup`<th>${heading}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            markup`<tr>
              ${row.map((cell, index) => (index === wide ? markup`<td>${cell}</td>` : markup`<td class="short">${cell}</td>`))}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

/** In UTC, like every time that Sluice prints: `2026-11-21 14:03:07Z`. */
export function date(at: number): string {
  return new Date(at)
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z$/u, 'Z');
}
