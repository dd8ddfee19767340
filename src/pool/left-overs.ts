import type { ContainerEngine } from '../containers/engine.ts';

/** Containers that an earlier daemon of this node has left: it was killed. Nobody else's are touched. */
export async function removeLeftOvers(
  engine: Pick<ContainerEngine, 'listContainers' | 'removeContainer'>,
  labels: Record<string, string>,
): Promise<void> {
  const left = await engine.listContainers(labels);
  await Promise.all(left.map(({ id }) => engine.removeContainer(id)));
}
