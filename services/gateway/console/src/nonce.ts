// The page's policy takes only style elements that carry its nonce. The component library is told the nonce, but some of
// its parts (measuring scroll bars, for one) write elements without it; so every style element made by our code gets it.

export const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content;

function setAttribute(this: HTMLSpanElement, name: string, value: string): void {
  if (name === 'style') this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

if (nonce) {
  const create = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const element = create(name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  }) as typeof document.createElement;
  // Nor does it take a style attribute that is given as text, as the terminal gives it: the same, set by property.
  HTMLSpanElement.prototype.setAttribute = setAttribute;
}
