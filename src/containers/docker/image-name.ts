/**
 * Splits `registry:5000/name:tag` at its tag. Without one it is `latest`: the engine would pull every tag there is.
 * A digest (`name@sha256:...`) needs no tag.
 */
export function withTag(name: string): { repository: string; tag: string | undefined } {
  if (name.includes('@')) return { repository: name, tag: undefined };
  const colon = name.indexOf(':', name.lastIndexOf('/') + 1);
  if (colon === -1) return { repository: name, tag: 'latest' };
  return { repository: name.slice(0, colon), tag: name.slice(colon + 1) };
}
