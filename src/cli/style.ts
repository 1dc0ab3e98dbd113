import { styleText } from 'node:util';

/** How text may look on one stream. */
export interface Look {
  readonly color: boolean;
  /** Only ASCII characters: symbols become words' first letters, lines become `|` and `-`. */
  readonly ascii: boolean;
  /** Columns. */
  readonly width: number;
  /** Whether it is a terminal. Only there is text cut or shortened: machines and `grep` get the whole. */
  readonly isTerminal: boolean;
}

export type Tone = 'good' | 'bad' | 'warn' | 'busy' | 'dim' | 'strong';

const FORMATS = {
  good: 'green',
  bad: 'red',
  warn: 'yellow',
  busy: 'cyan',
  dim: 'gray',
  strong: 'bold',
} as const satisfies Record<Tone, Parameters<typeof styleText>[0]>;

export function paint(text: string, tone: Tone | null, look: Pick<Look, 'color'>): string {
  if (!look.color || tone === null || text === '') return text;
  return styleText(FORMATS[tone], text, { validateStream: false });
}

/** The characters of a frame. A symbol never stands alone: a word always says the same. */
export interface Glyphs {
  readonly ok: string;
  readonly bad: string;
  readonly busy: string;
  readonly warn: string;
  readonly todo: string;
  readonly skipped: string;
  readonly arrow: string;
  readonly dash: string;
  readonly branch: string;
  readonly lastBranch: string;
  readonly trunk: string;
  readonly full: string;
  readonly empty: string;
  readonly ellipsis: string;
}

const UTF8: Glyphs = {
  ok: '✔',
  bad: '✖',
  busy: '◌',
  warn: '⚠',
  todo: '•',
  skipped: '↷',
  arrow: '→',
  dash: '—',
  branch: '├─',
  lastBranch: '└─',
  trunk: '│ ',
  full: '█',
  empty: '░',
  ellipsis: '…',
};

const ASCII: Glyphs = {
  ok: '+',
  bad: 'x',
  busy: '*',
  warn: '!',
  todo: '.',
  skipped: '>',
  arrow: '->',
  dash: '-',
  branch: '|-',
  lastBranch: '`-',
  trunk: '| ',
  full: '#',
  empty: '.',
  ellipsis: '~',
};

export function glyphs(look: Pick<Look, 'ascii'>): Glyphs {
  return look.ascii ? ASCII : UTF8;
}

export interface LookRequest {
  readonly color?: 'auto' | 'always' | 'never';
  readonly ascii?: boolean;
  readonly env: NodeJS.ProcessEnv;
  readonly isTTY: boolean;
  readonly columns?: number | undefined;
}

/** Columns assumed where there is no terminal to ask. */
const DEFAULT_COLUMNS = 100;

export function decideLook(request: LookRequest): Look {
  return {
    color: decideColor(request),
    ascii: decideAscii(request),
    width: Math.max(40, request.columns || Number(request.env['COLUMNS']) || DEFAULT_COLUMNS),
    isTerminal: request.isTTY,
  };
}

/** The flag wins, then NO_COLOR (no-color.org), then FORCE_COLOR and CLICOLOR_FORCE, then what the stream is. */
function decideColor({ color = 'auto', env, isTTY }: LookRequest): boolean {
  if (color !== 'auto') return color === 'always';
  if (isSet(env['NO_COLOR'])) return false;
  if (isSet(env['FORCE_COLOR'])) return env['FORCE_COLOR'] !== '0' && env['FORCE_COLOR'] !== 'false';
  if (isSet(env['CLICOLOR_FORCE'])) return env['CLICOLOR_FORCE'] !== '0';
  return isTTY && env['TERM'] !== 'dumb';
}

/** ASCII on request, on a dumb terminal, and where the locale is set to something that is not UTF-8. */
function decideAscii({ ascii, env }: LookRequest): boolean {
  if (ascii !== undefined) return ascii;
  if (env['TERM'] === 'dumb') return true;
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find(isSet);
  return locale !== undefined && !/utf-?8/iu.test(locale);
}

function isSet(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

/** Sentences carry typography that an ASCII terminal cannot show. Colour sequences are left as they are. */
export function toAscii(text: string, look: Pick<Look, 'ascii'>): string {
  if (!look.ascii) return text;
  return text
    .replace(/[‘’]/gu, "'")
    .replace(/[“”]/gu, '"')
    .replace(/[–—]/gu, '-')
    .replace(/…/gu, '...')
    .replace(/→/gu, '->')
    .replace(/≥/gu, '>=')
    .replace(/≤/gu, '<=')
    .replace(/×/gu, 'x')
    .replace(/[^\x1b\x20-\x7e]/gu, '?');
}
