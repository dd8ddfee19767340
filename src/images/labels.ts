/** Labels of images. Only images that carry them are ever removed. */
export const IMAGE_LABELS = {
  /** Name of one of the project's own images (`python3.11`, `python3.11-build`, `build-tools`). Children inherit it. */
  recipe: 'io.worker-front.recipe',
  /** Environment of a runtime image and of every function image made from it. */
  runtime: 'io.worker-front.runtime',
  /** Digest of what an own image was made from. */
  digest: 'io.worker-front.digest',
  /** When an own image was made (ISO 8601). */
  builtAt: 'io.worker-front.built-at',
  /** Names one build (or one function's builds) in layers that may be left over: what is pruned after it. */
  stage: 'io.worker-front.stage',
  /** Node whose function or dependency image it is. */
  node: 'io.worker-front.node',
  function: 'io.worker-front.function',
  version: 'io.worker-front.version',
  /** Digest of the runtime image that a function image was made from. */
  runtimeDigest: 'io.worker-front.runtime-digest',
  /** Digest of the dependencies in a dependency image, inherited by the function images made from it. */
  dependencies: 'io.worker-front.dependencies',
} as const;
