/** The colours that plots are drawn in; the style sheet turns them into those of the reader's light. */
export const INK = {
  canary: '#c2410c',
  stable: '#1d4ed8',
  limit: '#b91c1c',
  axis: '#475569',
  grid: '#e2e8f0',
} as const;

const DARK = { canary: '#fb923c', stable: '#60a5fa', limit: '#f87171', axis: '#94a3b8', grid: '#334155' } as const;

const recolour = (Object.keys(INK) as (keyof typeof INK)[])
  .map(
    (name) =>
      `figure svg [stroke="${INK[name]}"] { stroke: var(--${name}); }\nfigure svg [fill="${INK[name]}"] { fill: var(--${name}); }`,
  )
  .join('\n');

const variables = (colours: Readonly<Record<string, string>>): string =>
  Object.entries(colours)
    .map(([name, value]) => `--${name}: ${value};`)
    .join(' ');

const LIGHT_PAGE = { text: '#0f172a', soft: '#475569', page: '#ffffff', card: '#f8fafc', line: '#cbd5e1' };
const DARK_PAGE = { text: '#e2e8f0', soft: '#94a3b8', page: '#0f172a', card: '#1e293b', line: '#334155' };
const LIGHT_TONES = { good: '#15803d', bad: '#b91c1c', warn: '#a16207' };
const DARK_TONES = { good: '#4ade80', bad: '#f87171', warn: '#facc15' };

/** Everything a page is styled by; its hash stands in the page's policy. */
export const PAGE_STYLE = `
:root { ${variables(INK)} ${variables(LIGHT_PAGE)} ${variables(LIGHT_TONES)} color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { ${variables(DARK)} ${variables(DARK_PAGE)} ${variables(DARK_TONES)} }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); }
.verdict { margin: 1rem 0; padding: .75rem 1rem; background: var(--card); border-left: .3rem solid var(--line); }
.verdict.good { border-color: var(--good); } .verdict.bad { border-color: var(--bad); } .verdict.warn { border-color: var(--warn); }
.verdict p { color: var(--text); } .verdict strong { color: inherit; }
figure { margin: 1rem 0; overflow-x: auto; }
figcaption { font-weight: 600; overflow-wrap: anywhere; }
figure svg { display: block; width: 100%; min-width: 40rem; height: auto; }
figure svg text { font: 12px system-ui, sans-serif; }
${recolour}
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; min-width: 14rem; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
td.short { min-width: 0; white-space: nowrap; overflow-wrap: normal; font-variant-numeric: tabular-nums; }
code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
details { margin: .75rem 0; } summary { cursor: pointer; color: var(--soft); }
@media print {
  :root { ${variables(INK)} ${variables(LIGHT_PAGE)} ${variables(LIGHT_TONES)} color-scheme: light; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
  figure, tr, .verdict { break-inside: avoid; }
  h2, figcaption { break-after: avoid; }
  figure svg, td { min-width: 0; }
}
`;
