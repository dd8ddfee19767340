import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Bundle } from '../../code/bundle.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import type { Bundles } from '../redeploy.ts';

interface Uploaded {
  /** Stands for the content: equal codes are equal versions. */
  code: string;
  tag: string;
  /** Text of config.json; undefined: there is none. */
  manifest: string | undefined;
  /** What unpacking it says. */
  error?: WorkerFrontError;
}

/** A code source and a code cache in one, in memory but for the manifests. */
export class FakeBundles implements Bundles {
  readonly calls: string[] = [];
  readonly uploaded = new Map<string, Uploaded>();
  /** Bundles on disk by name, the newest last. */
  readonly onDisk = new Map<string, Bundle[]>();
  /** Leases that are held, as `name@version`; one that is held twice is there twice. */
  readonly leases: string[] = [];
  /** What stands in the way of every question to the code source. */
  down: WorkerFrontError | undefined;
  /** Awaited before a fetch, and before a look, ends. */
  beforeFetch: (name: string) => Promise<void> | void = () => undefined;
  beforeStat: (name: string) => Promise<void> | void = () => undefined;
  afterFetch: (bundle: Bundle) => void = () => undefined;
  readonly #root = mkdtempSync(join(tmpdir(), 'worker-front-bundles-'));

  upload(name: string, code: string, more: Partial<Uploaded> = {}): void {
    this.uploaded.set(name, { code, tag: `tag of ${code}`, manifest: '{"environment": "python3.11"}', ...more });
  }

  async stat(name: string) {
    this.calls.push(`stat ${name}`);
    await this.beforeStat(name);
    if (this.down) throw this.down;
    const object = this.uploaded.get(name);
    return object && { name, tag: object.tag };
  }

  async fetchLatest(name: string) {
    this.calls.push(`fetch ${name}`);
    await this.beforeFetch(name);
    if (this.down) throw this.down;
    const object = this.uploaded.get(name);
    if (!object) throw new WorkerFrontError('function_not_found', `no ${name}`);
    if (object.error) throw object.error;
    const version = `version-${object.code}`;
    const dir = join(this.#root, name, version);
    mkdirSync(dir, { recursive: true });
    if (object.manifest !== undefined) writeFileSync(join(dir, 'config.json'), object.manifest);
    const bundle: Bundle = { name, version, dir, bytes: 1000, tag: object.tag };
    this.onDisk.set(name, [...this.#others(name, version), bundle]);
    this.afterFetch(bundle);
    return { bundle, fetched: true };
  }

  get held(): ReadonlySet<string> {
    return new Set(this.leases);
  }

  latest(name: string): Bundle | undefined {
    return this.versions(name).at(-1);
  }

  get(name: string, version: string): Bundle | undefined {
    return this.versions(name).find((bundle) => bundle.version === version);
  }

  versions(name: string): Bundle[] {
    return this.onDisk.get(name) ?? [];
  }

  acquire({ name, version }: Bundle) {
    if (!this.get(name, version)) return undefined;
    const lease = `${name}@${version}`;
    this.leases.push(lease);
    return { release: () => void this.leases.splice(this.leases.indexOf(lease), 1) };
  }

  /** Takes a bundle away, as the code cache does. */
  remove(name: string, version: string): void {
    rmSync(join(this.#root, name, version), { recursive: true, force: true });
    this.onDisk.set(name, this.#others(name, version));
  }

  count(call: string): number {
    return this.calls.filter((made) => made === call).length;
  }

  close(): void {
    rmSync(this.#root, { recursive: true, force: true });
  }

  #others(name: string, version: string): Bundle[] {
    return this.versions(name).filter((bundle) => bundle.version !== version);
  }
}
