/** What a bundle's index file says. */
export interface BundleMeta {
  name: string;
  version: string;
  tag: string;
  bytes: number;
  fetchedAt: number;
  durable: boolean;
}

/** Undefined when the text is no index file; a daemon of another version may have written it. */
export function parseMeta(text: string): BundleMeta | undefined {
  let value: Partial<Record<keyof BundleMeta, unknown>>;
  try {
    value = JSON.parse(text) as typeof value;
  } catch {
    return undefined;
  }
  const { name, version, tag, bytes, fetchedAt, durable } = value ?? {};
  if (typeof name !== 'string' || typeof version !== 'string' || typeof tag !== 'string') return undefined;
  if (typeof bytes !== 'number' || typeof fetchedAt !== 'number' || typeof durable !== 'boolean') return undefined;
  return { name, version, tag, bytes, fetchedAt, durable };
}
