/** Labels of every container, network and image that a node makes; a daemon touches only those with its own node label. */
export const LABELS = {
  node: 'io.worker-front.node',
  function: 'io.worker-front.function',
  version: 'io.worker-front.version',
  sandbox: 'io.worker-front.sandbox',
  environment: 'io.worker-front.environment',
} as const;
