import type { Host } from '../config.ts';

/** A machine of four CPUs and 8 GiB, and somebody who is not root. */
export const HOST: Host = {
  cpus: 4,
  memoryBytes: 8 * 2 ** 30,
  root: false,
  home: '/home/someone',
  stateDirectory: undefined,
  xdgStateHome: undefined,
  cwd: '/home/someone',
};
