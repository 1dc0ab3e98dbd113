import { init } from 'echarts';
import type { EChartsOption, LineSeriesOption } from 'echarts';
import { markup, Html } from './html';
import { INK } from './page-style';

/** A plot over time. */
export interface Plot {
  readonly title: string;
  /** Both ends of the time axis, epoch milliseconds: the same for all plots of a page. */
  readonly from: number;
  readonly to: number;
  readonly lines: readonly PlotLine[];
  /** How a value of the vertical axis is written. */
  readonly format: (value: number) => string;
  /** The vertical axis reaches at least up to here. */
  readonly least?: number;
  /** Moments to be marked, each by a short word of our own. */
  readonly marks: readonly { readonly at: number; readonly label: string }[];
}

export interface PlotLine {
  /** Of our own, never from outside: it is drawn as it is. */
  readonly name: string;
  readonly colour: keyof typeof INK;
  /** null: nothing is known there, and the line is broken. */
  readonly points: readonly (readonly [at: number, value: number | null])[];
  readonly shape: 'line' | 'step' | 'dots' | 'dashed';
}

const SIZE = { width: 960, height: 240 };

/** A figure with the plot as SVG, drawn here: it needs neither a script nor a server to be seen. */
export function renderPlot(plot: Plot): Html {
  const chart = init(null, null, { renderer: 'svg', ssr: true, ...SIZE });
  try {
    chart.setOption(optionOf(plot));
    const svg = asInlined(chart.renderToSVGString(), plot.title);
    return markup`<figure>
      <figcaption>${plot.title}</figcaption>
      ${new Html(svg)}
    </figure>`;
  } finally {
    chart.dispose();
  }
}

function optionOf({ from, to, lines, format, least, marks }: Plot): EChartsOption {
  const label = { color: INK.axis };
  const [first, ...others] = lines.map(seriesOf);
  return {
    animation: false,
    useUTC: true,
    textStyle: { color: INK.axis },
    grid: { left: 72, right: 24, top: marks.length > 0 ? 56 : 36, bottom: 28 },
    legend: {
      top: 0,
      left: 64,
      textStyle: label,
      icon: 'rect',
      itemWidth: 16,
      itemHeight: 4,
      itemGap: 32,
      inactiveColor: INK.axis,
    },
    xAxis: {
      type: 'time',
      min: from,
      max: Math.max(to, from + 1),
      axisLabel: { ...label, hideOverlap: true },
      axisLine: { lineStyle: { color: INK.axis } },
      axisTick: { lineStyle: { color: INK.axis } },
    },
    yAxis: {
      type: 'value',
      min: ({ min }) => Math.min(0, min),
      ...(least === undefined ? {} : { max: ({ max }) => Math.max(least, Number.isFinite(max) ? max : 0) }),
      axisLabel: { ...label, formatter: (value: number) => format(value) },
      splitLine: { lineStyle: { color: INK.grid } },
    },
    series: first === undefined ? [] : [{ ...first, markLine: markLineOf(marks) }, ...others],
  };
}

function seriesOf({ name, colour, points, shape }: PlotLine): LineSeriesOption {
  const color = INK[colour];
  return {
    type: 'line',
    name,
    data: points.map(([at, value]) => [at, value]),
    color,
    itemStyle: { color, borderWidth: 0 },
    lineStyle: { color, width: shape === 'dots' ? 0 : 2, type: shape === 'dashed' ? 'dashed' : 'solid' },
    symbol: shape === 'step' || shape === 'dashed' ? 'none' : 'circle',
    symbolSize: shape === 'dots' ? 6 : 4,
    showAllSymbol: true,
    ...(shape === 'step' ? { step: 'end' as const } : {}),
  };
}

function markLineOf(marks: Plot['marks']): NonNullable<LineSeriesOption['markLine']> {
  return {
    silent: true,
    symbol: 'none',
    animation: false,
    lineStyle: { color: INK.axis, type: 'dotted', width: 1 },
    label: { color: INK.axis, position: 'end', distance: 4 },
    data: marks.map(({ at, label }) => ({ xAxis: at, label: { formatter: label } })),
  };
}

/**
 * Without what the page's policy would refuse or a reader does not need: styles within the drawing (the page has them),
 * and handles for scripts. Ids are made the same for the same drawing.
 */
function asInlined(svg: string, title: string): string {
  const named = markup`<svg role="img" aria-label="${title}"`.text;
  const ids = new Map<string, string>();
  return svg
    .replace(/<style\b[^>]*>[\s\S]*?<\/style>/gu, '')
    .replace(/ (?:style|class|pointer-events|ecmeta_\w+|xmlns:xlink|baseProfile|version)="[^"]*"/gu, '')
    .replace(/zr\d+-c\d+/gu, (id) => {
      const known = ids.get(id) ?? `${slug(title)}-${ids.size}`;
      ids.set(id, known);
      return known;
    })
    .replace(/^<svg width="\d+" height="\d+"/u, named);
}

/** An id out of a title that may be anything. */
function slug(title: string): string {
  return [...title]
    .map((character) => (/[a-z0-9]/iu.test(character) ? character : `-${character.codePointAt(0)}`))
    .join('');
}
