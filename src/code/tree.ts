import { MAX_LINK_BYTES } from './limits.ts';
import { invalidCode } from './problems.ts';

export type TreeNode =
  | { kind: 'folder' }
  | { kind: 'file'; executable: boolean; sha256?: string }
  | { kind: 'link'; target?: string };

/** Links passed on the way to one target, as in Linux. */
const MAX_LINKS = 40;

/** Parts of paths walked to check all links of a bundle: honest ones need a few each. Bounds the time it takes. */
const MAX_LINK_STEPS = 200_000;

/**
 * The paths of one bundle before anything is written, checked as they are added: no path twice, nothing below a file or
 * a link, not more nodes than allowed (folders that are only named in paths count too). Links are checked at the end,
 * against the whole tree.
 */
export class BundleTree {
  readonly nodes = new Map<string, TreeNode>();
  readonly #functionName: string;
  readonly #maxEntries: number;
  #linkSteps = 0;

  constructor(functionName: string, maxEntries: number) {
    this.#functionName = functionName;
    this.#maxEntries = maxEntries;
  }

  /** Adds a node and the folders above it. A folder may be added again. */
  add(path: string, node: TreeNode): void {
    for (let slash = path.indexOf('/'); slash !== -1; slash = path.indexOf('/', slash + 1)) {
      this.#put(path.slice(0, slash), { kind: 'folder' }, path);
    }
    this.#put(path, node, path);
  }

  get files(): number {
    let count = 0;
    for (const node of this.nodes.values()) if (node.kind !== 'folder') count += 1;
    return count;
  }

  /**
   * Refuses links that lead out of the bundle at any step, absolute ones, and circles. A link to nothing is allowed as
   * long as nothing lies inside.
   */
  checkLinks(): void {
    for (const [path, node] of this.nodes) {
      if (node.kind === 'link') this.#follow(path);
    }
  }

  #put(path: string, node: TreeNode, entry: string): void {
    const known = this.nodes.get(path);
    if (known === undefined) {
      if (this.nodes.size >= this.#maxEntries) {
        throw invalidCode(
          this.#functionName,
          `is one too many: ${this.#maxEntries} files and folders are allowed`,
          entry,
        );
      }
      this.nodes.set(path, node);
      return;
    }
    if (known.kind === 'folder' && node.kind === 'folder') return;
    if (known.kind !== 'folder' && node.kind !== 'folder') {
      throw invalidCode(this.#functionName, 'is there twice', entry);
    }
    throw invalidCode(this.#functionName, `needs '${path}' as a folder and as a file`, entry);
  }

  #follow(link: string): void {
    const refuse = (problem: string) => invalidCode(this.#functionName, problem, link);
    const todo = link.split('/');
    const at: string[] = [];
    let links = 0;
    for (let part = todo.shift(); part !== undefined; part = todo.shift()) {
      this.#linkSteps += 1;
      if (this.#linkSteps > MAX_LINK_STEPS) throw refuse('is one link too many: they are too entangled to be checked');
      if (part === '' || part === '.') continue;
      if (part === '..') {
        if (at.pop() === undefined) throw refuse('is a link that leads out of the function');
        continue;
      }
      at.push(part);
      const node = this.nodes.get(at.join('/'));
      if (node?.kind !== 'link') continue;
      links += 1;
      if (links > MAX_LINKS) throw refuse('is a link that leads in a circle');
      const target = this.#target(link, node.target ?? '');
      at.pop();
      todo.unshift(...target.split('/'));
    }
  }

  #target(link: string, target: string): string {
    const refuse = (problem: string) => invalidCode(this.#functionName, problem, link);
    if (target === '') throw refuse('is a link to nothing');
    if (target.includes('\0')) throw refuse('is a link with a NUL character in its target');
    if (Buffer.byteLength(target) > MAX_LINK_BYTES) throw refuse(`is a link of more than ${MAX_LINK_BYTES} bytes`);
    if (target.startsWith('/')) throw refuse('is a link to an absolute path; links must stay inside the function');
    return target;
  }
}
