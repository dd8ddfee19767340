import { expect, it } from 'vitest';
import { sparesFor } from './spares.ts';

it.each([
  [0, 1024, 1],
  [1, 1024, 1],
  [3, 1024, 3],
  [100, 1024, 4],
  [100, 512, 2],
  [100, 128, 1],
])('at a peak of %i calls in %i MiB there are %i spares', (peak, mebibytes, spares) => {
  expect(sparesFor(peak, mebibytes * 2 ** 20)).toBe(spares);
});
