import { setFlagsFromString } from 'node:v8';

/** From now on V8's space for young objects grows by what it is used for: doubling is V8's own measure. */
export function growAsUsual(): void {
  setFlagsFromString('--semi-space-growth-factor=2');
}
