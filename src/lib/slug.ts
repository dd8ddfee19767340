import { createHash } from 'node:crypto';

/** Gives every function name a slug for names of images and containers, no two names the same one. */
export interface Slugs {
  /** The name's slug. The same for the same name as long as this object lives. */
  of(name: string): string;
  /** Takes over an assignment made earlier (read from an image's labels), unless name or slug have another one. */
  restore(name: string, slug: string): void;
}

/**
 * The first name that asks for a plain slug gets it (`W1` -> `w1`); a later name that would get the same one (`w1`)
 * gets it with a short hash of its own (`w1-5f2a9c`). Assignments survive a restart through `restore`.
 */
export function createSlugs(): Slugs {
  const byName = new Map<string, string>();
  const taken = new Set<string>();

  function assign(name: string, slug: string): string {
    byName.set(name, slug);
    taken.add(slug);
    return slug;
  }

  return {
    of(name) {
      const known = byName.get(name);
      if (known !== undefined) return known;
      const plain = plainSlug(name);
      if (!taken.has(plain)) return assign(name, plain);
      const hash = createHash('sha256').update(name).digest('hex');
      let length = 6;
      while (taken.has(`${plain}-${hash.slice(0, length)}`)) length++;
      return assign(name, `${plain}-${hash.slice(0, length)}`);
    },
    restore(name, slug) {
      if (!byName.has(name) && !taken.has(slug)) assign(name, slug);
    },
  };
}

/**
 * A name in lower case that is legal as a component of an image name: letters and digits, with `_`, `__` or any number
 * of `-` between them (https://docs.docker.com/reference/cli/docker/image/tag/).
 */
export function plainSlug(name: string): string {
  const slug = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, (run) => (/^(__?|-+)$/.test(run) ? run : '-'))
    .replace(/^[_-]+|[_-]+$/g, '');
  return slug || 'f';
}
