import { type Deferred, deferred } from '../lib/deferred.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import { ProtocolError } from './frames.ts';
import { initFailed, lostError } from './load-errors.ts';
import type { Failure } from './messages.ts';

export interface Loaded {
  /** Fractional milliseconds. */
  initMs: number;
}

/** How far a sandbox is with loading its one handler. */
export class HandlerLoad {
  #state: 'fresh' | 'loading' | 'loaded';
  #loading: Deferred<Loaded> | undefined;
  /** A runtime that died before it could be told to load. */
  #failedBefore: WorkerFrontError | undefined;

  /** `loaded`: an earlier daemon has seen to it. */
  constructor(loaded: boolean) {
    this.#state = loaded ? 'loaded' : 'fresh';
  }

  get isLoaded(): boolean {
    return this.#state === 'loaded';
  }

  /** Why it cannot be told to load now; `lost`: why its channel has ended, if it has. */
  obstacle(lost: string | undefined): WorkerFrontError | undefined {
    if (this.#failedBefore) return this.#failedBefore;
    if (lost !== undefined) return lostError(lost);
    if (this.#state === 'fresh') return undefined;
    return new WorkerFrontError('internal_error', 'this sandbox has loaded a function already');
  }

  /** It is told to load. */
  begin(): Deferred<Loaded> {
    this.#state = 'loading';
    this.#loading = deferred<Loaded>();
    return this.#loading;
  }

  ready(initMs: number): void {
    if (!this.#loading) throw new ProtocolError('ready without load');
    this.#state = 'loaded';
    this.#loading.resolve({ initMs });
    this.#loading = undefined;
  }

  /** `output`: what the sandbox printed last. */
  failed(failure: Failure, output: string): void {
    if (this.#state === 'loaded') throw new ProtocolError('a failed load after ready');
    const error = initFailed(failure, output);
    if (this.#loading) this.#loading.reject(error);
    else this.#failedBefore = error;
    this.#loading = undefined;
  }

  /** The channel has ended. */
  lost(reason: string): void {
    this.#loading?.reject(lostError(reason));
    this.#loading = undefined;
  }
}
