import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import tar from 'tar-stream';
import { type Deferred, deferred } from '../../lib/deferred.ts';
import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import { checkLimits, checkSpec } from '../check-spec.ts';
import type {
  ContainerExit,
  ContainerState,
  ContainerSummary,
  EngineEvent,
  EngineEventKind,
  MemoryUsage,
} from '../engine.ts';
import { cannotJoin, nameTaken, noSuchContainer, noSuchNetwork, notStartable, unknownImage } from '../engine-errors.ts';
import type { ContainerSpec, ResourceLimits } from '../spec.ts';
import type { FakeContainer, FakeEngineOptions } from './types.ts';

/** What the store needs to know of the rest of the engine. */
export interface Surroundings {
  imageId(name: string): string | undefined;
  hasNetwork(name: string): boolean;
  emit(event: EngineEvent): void;
}

interface Entry extends FakeContainer {
  status: ContainerState['status'];
  exitCode: number | undefined;
  oomKilled: boolean;
  error: string;
  limits: ResourceLimits;
  signals: string[];
  output: string;
  memory: MemoryUsage;
  /** Its start has been told to the subscribers. */
  announced: boolean;
  /** The kernel killed something in it: the flag comes up with the next exit, as on the real engine. */
  oomSeen: boolean;
  exits: Deferred<ContainerExit>;
}

/** The containers of the fake engine and their rules. Everything here happens at once; the gate makes calls of it. */
export class ContainerStore {
  readonly #entries = new Map<string, Entry>();
  readonly #options: FakeEngineOptions;
  readonly #around: Surroundings;
  #created = 0;

  constructor(options: FakeEngineOptions, around: Surroundings) {
    this.#options = options;
    this.#around = around;
  }

  get all(): ReadonlyMap<string, FakeContainer> {
    return this.#entries;
  }

  create(spec: ContainerSpec): string {
    checkSpec(spec);
    const imageId = this.#around.imageId(spec.image);
    if (!imageId) throw unknownImage(spec.image);
    if ([...this.#entries.values()].some((entry) => entry.spec.name === spec.name)) throw nameTaken(spec.name);
    this.#created += 1;
    const id = createHash('sha256').update(`container ${this.#created}`).digest('hex');
    this.#entries.set(id, this.#makeEntry(id, structuredClone(spec), imageId));
    return id;
  }

  async start(id: string): Promise<void> {
    const entry = this.#get(id);
    if (entry.status === 'running') return;
    const { network, joins } = entry.spec;
    if (joins !== undefined) {
      if (this.#entries.get(joins)?.status !== 'running') {
        throw this.#refuseStart(entry, `cannot join network of a non running container: ${joins}`, cannotJoin);
      }
    } else if (network !== 'none' && !this.#around.hasNetwork(network)) {
      throw this.#refuseStart(entry, `network ${network} not found`, noSuchNetwork);
    }
    entry.status = 'running';
    entry.exitCode = undefined;
    entry.error = '';
    entry.announced = false;
    try {
      await this.#options.onStart?.(entry);
    } catch (error) {
      throw this.#refuseStart(entry, messageOf(error));
    }
    this.#announceStart(entry);
  }

  nextExit(id: string): Promise<ContainerExit> {
    return this.#get(id).exits.promise;
  }

  kill(id: string, signal: string): void {
    const entry = this.#entries.get(id);
    if (entry?.status !== 'running') return;
    if (signal === 'SIGKILL') return this.exit(id, 137);
    entry.signals.push(signal);
    this.#options.onSignal?.(entry, signal);
  }

  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (!entry) return;
    if (entry.status === 'running') this.exit(id, 137);
    this.#entries.delete(id);
    // Who waits for the next exit of one that never ran (again) learns of its end too.
    entry.exits.resolve({ exitCode: entry.exitCode ?? 0 });
    this.#emit(entry, 'destroy');
  }

  update(id: string, limits: ResourceLimits): void {
    checkLimits(limits);
    this.#get(id).limits = { ...limits };
  }

  inspect(id: string): ContainerState | undefined {
    const entry = this.#entries.get(id);
    if (!entry) return undefined;
    const { status, exitCode, oomKilled, error, spec } = entry;
    return { id, name: spec.name, status, exitCode, oomKilled, error, labels: { ...spec.labels } };
  }

  list(labels: Record<string, string>): ContainerSummary[] {
    return [...this.#entries.values()]
      .filter((entry) => hasLabels(entry.spec.labels, labels))
      .map(({ id, spec, status }) => ({
        id,
        name: spec.name,
        image: spec.image,
        state: status,
        labels: { ...spec.labels },
      }));
  }

  logs(id: string, maxBytes: number): string {
    const bytes = Buffer.from(this.#get(id).output);
    let start = Math.max(0, bytes.length - maxBytes);
    while (start < bytes.length && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
    return bytes.subarray(start).toString('utf8');
  }

  memory(id: string): MemoryUsage | undefined {
    const entry = this.#entries.get(id);
    return entry?.status === 'running' ? { ...entry.memory } : undefined;
  }

  setMemory(id: string, usage: Partial<MemoryUsage>): void {
    Object.assign(this.#get(id).memory, usage);
  }

  export(id: string, path: string): Readable {
    const { files } = this.#get(id);
    const content = files.get(path);
    if (content === undefined) {
      throw new WorkerFrontError('internal_error', `Could not find the file ${path} in container ${id}`);
    }
    const pack = tar.pack();
    pack.entry({ name: path.slice(path.lastIndexOf('/') + 1) }, content);
    pack.finalize();
    // One of Node's own streams, as the real engine gives.
    return Readable.from(pack);
  }

  exit(id: string, code: number): void {
    const entry = this.#get(id);
    if (entry.status !== 'running') throw new Error(`Container ${entry.spec.name} does not run: it can't exit`);
    entry.status = 'exited';
    entry.exitCode = code;
    entry.oomKilled = entry.oomSeen;
    const { exits } = entry;
    entry.exits = deferred();
    this.#announceStart(entry);
    this.#emit(entry, 'die', code);
    exits.resolve({ exitCode: code });
  }

  oom(id: string, victim: 'main' | 'child'): void {
    const entry = this.#get(id);
    this.#announceStart(entry);
    entry.memory.oomKills += 1;
    entry.oomSeen = true;
    this.#emit(entry, 'oom');
    if (victim === 'main') this.exit(id, 137);
  }

  usesImage(imageId: string): boolean {
    return [...this.#entries.values()].some((entry) => entry.imageId === imageId);
  }

  usesNetwork(name: string): boolean {
    return [...this.#entries.values()].some((entry) => entry.status === 'running' && entry.spec.network === name);
  }

  #makeEntry(id: string, spec: ContainerSpec, imageId: string): Entry {
    const entry: Entry = {
      id,
      spec,
      imageId,
      status: 'created',
      exitCode: undefined,
      oomKilled: false,
      error: '',
      limits: { ...spec.limits },
      signals: [],
      files: new Map(),
      output: '',
      memory: { peakBytes: 4 * 1024 * 1024, oomKills: 0 },
      announced: false,
      oomSeen: false,
      exits: deferred(),
      print: (text) => {
        entry.output += text;
      },
      exit: (code) => this.exit(id, code),
    };
    return entry;
  }

  #get(id: string): Entry {
    const entry = this.#entries.get(id);
    if (!entry) throw noSuchContainer(id);
    return entry;
  }

  /** Not before it is sure that it starts, and before whatever it does then, as the engine does. */
  #announceStart(entry: Entry): void {
    if (entry.announced) return;
    entry.announced = true;
    this.#emit(entry, 'start');
  }

  #refuseStart(entry: Entry, words: string, refusal = notStartable): WorkerFrontError {
    entry.status = 'created';
    entry.error = words;
    return refusal(words);
  }

  #emit(entry: Entry, kind: EngineEventKind, exitCode?: number): void {
    this.#around.emit({ kind, containerId: entry.id, labels: { ...entry.spec.labels }, exitCode });
  }
}

export function hasLabels(labels: Record<string, string>, wanted: Record<string, string>): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}
