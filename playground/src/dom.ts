// Makes and finds elements. What others wrote only ever becomes text here, never markup.

type Child = Node | string | null | false;

interface Properties {
  class?: string;
  text?: string;
  on?: Record<string, (event: Event) => void>;
  /** Attributes; `null` and `false` leave one out. */
  [attribute: string]: unknown;
}

export function h<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  const { class: className, text, on, ...attributes } = properties;
  if (className !== undefined) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false && value !== undefined)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const [event, heard] of Object.entries(on ?? {})) element.addEventListener(event, heard);
  element.append(...children.filter((child): child is Node | string => child !== null && child !== false));
  return element;
}

/** An element of the page itself, which is there. */
export function part<Element_ extends HTMLElement = HTMLElement>(id: string): Element_ {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no #${id}`);
  return element as Element_;
}
