/**
 * The states of a sandbox:
 *
 * - `creating`  the container is being made
 * - `starting`  it runs, the bootstrap has not dialled in yet (to this daemon)
 * - `stem`      the bootstrap is there, no function is loaded
 * - `loading`   the handler is being loaded
 * - `ready`     idle, can take a call
 * - `busy`      has at least one call in flight; never reaped
 * - `draining`  takes no more calls; is removed when the last one has ended
 * - `expired`   idle too long, or evicted; being removed
 * - `lost`      its channel or container is gone; being removed
 * - `removed`   nothing is left of it
 */
export type SandboxState =
  | 'creating'
  | 'starting'
  | 'stem'
  | 'loading'
  | 'ready'
  | 'busy'
  | 'draining'
  | 'expired'
  | 'lost'
  | 'removed';

/** Every allowed move; anything else is a fault in the pool. The picture is in ARCHITECTURE.md. */
export const MOVES: Readonly<Record<SandboxState, readonly SandboxState[]>> = {
  creating: ['starting', 'lost'],
  // `ready`: an earlier daemon has loaded it.
  starting: ['stem', 'ready', 'lost'],
  stem: ['loading', 'expired', 'lost'],
  loading: ['ready', 'lost'],
  ready: ['busy', 'draining', 'expired', 'lost'],
  busy: ['ready', 'draining', 'lost'],
  draining: ['removed', 'lost'],
  expired: ['removed', 'lost'],
  lost: ['removed'],
  removed: [],
};

/** States in which no call is, or can be put, into the sandbox any more. */
export const ENDING: ReadonlySet<SandboxState> = new Set(['draining', 'expired', 'lost', 'removed']);
