import { expect, it } from 'vitest';
import { systemClock } from './clock.ts';
import { ManualClock } from './manual-clock.ts';

it('stands still until it is moved, and fires in order of time', async () => {
  const clock = new ManualClock();
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b at ${clock.now()}`));
  clock.after(10, () => {
    fired.push(`a at ${clock.now()}`);
    clock.after(5, () => fired.push(`c at ${clock.now()}`));
  });
  clock.after(15, () => fired.push('never')).cancel();
  expect(clock.pending).toBe(2);
  await clock.advance(9);
  expect(fired).toEqual([]);
  await clock.advance(16);
  expect(fired).toEqual(['a at 10', 'c at 15', 'b at 20']);
  expect(clock.now()).toBe(25);
  expect(clock.pending).toBe(0);
});

it('lets promises settle before it fires', async () => {
  const clock = new ManualClock();
  const fired: string[] = [];
  clock.after(10, () => fired.push('timer'));
  void Promise.resolve().then(() => fired.push('promise'));
  await clock.advance(10);
  expect(fired).toEqual(['promise', 'timer']);
});

it('is monotonic and cancellable in its real form', async () => {
  const began = systemClock.now();
  let cancelled = false;
  systemClock
    .after(0, () => {
      cancelled = true;
    })
    .cancel();
  await new Promise<void>((resolve) => {
    // Keeps the process alive, which the clock's timers do not.
    const alive = setInterval(() => undefined, 1000);
    systemClock.after(2, () => {
      clearInterval(alive);
      resolve();
    });
  });
  expect(systemClock.now()).toBeGreaterThan(began);
  expect(cancelled).toBe(false);
});
