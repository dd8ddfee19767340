import { afterEach, expect, it, vi } from 'vitest';
import { steadyWallTime } from './steady-time.ts';

afterEach(() => vi.restoreAllMocks());

it('goes on with the monotonic clock when the wall clock jumps', () => {
  const wall = vi.spyOn(Date, 'now').mockReturnValue(1_000_000);
  const monotonic = vi.spyOn(performance, 'now').mockReturnValue(50);
  const now = steadyWallTime();
  expect(now()).toBe(1_000_000);
  wall.mockReturnValue(1_000_000 - 3_600_000);
  monotonic.mockReturnValue(60.9);
  expect(now()).toBe(1_000_010);
});

it('is never before a time of an earlier run', () => {
  vi.spyOn(Date, 'now').mockReturnValue(1000);
  expect(steadyWallTime(5000)()).toBeGreaterThanOrEqual(5000);
});
