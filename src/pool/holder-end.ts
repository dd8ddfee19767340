import type { DeathWatch } from './deaths.ts';
import type { Sandbox } from './sandbox.ts';

/** Why a sandbox whose network holder has ended goes. */
export const HOLDER_ENDED = 'its network holder has ended';

/**
 * With its holder a sandbox's network goes, while its processes live on: it gets no call after those in flight. Nothing is watched when
 * it has no holder, or its network is `none`. Returns the function that ends the watch.
 */
export function watchHolder(sandbox: Sandbox, deaths: Pick<DeathWatch, 'watch'>): () => void {
  const { holder } = sandbox;
  if (!holder || sandbox.container.network === 'none') return () => undefined;
  return deaths.watch(holder.containerId, () => {
    sandbox.cutOff = true;
    if (sandbox.inFlight === 0) void sandbox.channel?.close(HOLDER_ENDED);
  });
}
