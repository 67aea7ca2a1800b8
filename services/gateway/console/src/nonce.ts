// The page's policy takes only style elements that carry its nonce. The component library is told the nonce, but some of
// its parts (measuring scroll bars, for one) write elements without it; so every style element made by our code gets it.

export const nonce = document.querySelector<HTMLMetaElement>('meta[name="csp-nonce"]')?.content;

if (nonce) {
  const create = document.createElement.bind(document);
  document.createElement = ((name: string, options?: ElementCreationOptions) => {
    const element = create(name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  }) as typeof document.createElement;
}
