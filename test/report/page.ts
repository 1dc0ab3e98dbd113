import { parse } from 'parse5';
import type { DefaultTreeAdapterTypes } from 'parse5';

export type PageElement = DefaultTreeAdapterTypes.Element;

/** A page as a browser reads it. */
export interface Page {
  readonly elements: readonly PageElement[];
  all(name: string): readonly PageElement[];
  attribute(element: PageElement, name: string): string | undefined;
  /** All text of an element, in order; of the page without it, where it has none. */
  text(element?: PageElement): string;
}

export function readPage(source: string): Page {
  const document = parse(source);
  const elements: PageElement[] = [];
  collect(document, elements);
  return {
    elements,
    all: (name) => elements.filter(({ tagName }) => tagName === name),
    attribute: (element, name) => element.attrs.find((attribute) => attribute.name === name)?.value,
    text: (element) => textOf(element ?? document),
  };
}

function collect(node: DefaultTreeAdapterTypes.Node, into: PageElement[]): void {
  if ('tagName' in node) into.push(node);
  if ('childNodes' in node) for (const child of node.childNodes) collect(child, into);
}

function textOf(node: DefaultTreeAdapterTypes.Node): string {
  if ('value' in node) return node.value;
  return 'childNodes' in node ? node.childNodes.map(textOf).join('') : '';
}

/** What would make a page fetch or run something, or be refused by its own policy. */
export function dangersOf(page: Page): string[] {
  const refused = 'script link img iframe object embed base form input audio video source foreignobject use a'.split(
    ' ',
  );
  return page.elements.flatMap(({ tagName, attrs }) => [
    ...(refused.includes(tagName.toLowerCase()) ? [`<${tagName}>`] : []),
    ...attrs.flatMap(({ name, value }) => {
      const fetches = /^(src|srcset|href|xlink:href|action|data|poster|ping|background)$/u.test(name);
      const runs = name.startsWith('on') || name === 'style';
      const leaves = /url\((?!#)|[a-z]+:\/\//iu.test(value) && !['xmlns', 'aria-label'].includes(name);
      return fetches || runs || leaves ? [`${tagName} ${name}="${value}"`] : [];
    }),
  ]);
}
