import { describe, expect, it } from 'vitest';
import { ByteBudget, SMALL_BYTES } from './byte-budget.ts';

const LARGE = SMALL_BYTES + 1;

describe('a budget of bytes', () => {
  it('gives what fits, and takes it back', () => {
    const budget = new ByteBudget(() => 10);
    expect([budget.take(6), budget.take(5), budget.take(4)]).toEqual([true, false, true]);
    budget.give(6);
    expect([budget.used, budget.take(7), budget.take(6)]).toEqual([4, false, true]);
  });

  it('lets one that is larger than all of it pass alone', () => {
    const budget = new ByteBudget(() => 10);
    expect([budget.take(11), budget.take(1)]).toEqual([true, false]);
  });

  it('keeps a quarter for small ones', () => {
    const budget = new ByteBudget(() => 4 * LARGE);
    const large = [1, 2, 3, 4].map(() => budget.take(LARGE));
    expect(large).toEqual([true, true, true, false]);
    expect(budget.take(SMALL_BYTES)).toBe(true);
  });

  it('counts parts of a large one as large', () => {
    const budget = new ByteBudget(() => 4 * LARGE);
    budget.take(2 * LARGE);
    expect([budget.take(LARGE, LARGE), budget.take(10, LARGE + 10), budget.take(10)]).toEqual([true, false, true]);
    const alone = new ByteBudget(() => 10);
    expect([alone.take(8), alone.take(8, 16), alone.take(8, 8)]).toEqual([true, true, false]);
  });

  it('counts what is forced on it', () => {
    const budget = new ByteBudget(() => 10);
    budget.force(20);
    expect([budget.used, budget.take(1)]).toEqual([20, false]);
  });

  it('follows a changed limit', () => {
    let limit = 10;
    const budget = new ByteBudget(() => limit);
    budget.take(8);
    limit = 5;
    expect(budget.take(1)).toBe(false);
    limit = 20;
    expect(budget.take(12)).toBe(true);
  });

  it('grants in the order of the asking, without a later one that would fit going before', () => {
    const budget = new ByteBudget(() => 8 * LARGE);
    expect(budget.take(6 * LARGE)).toBe(true);
    const granted: string[] = [];
    budget.wait(4 * LARGE, () => granted.push('first'));
    const leave = budget.wait(LARGE, () => granted.push('second'));
    budget.wait(LARGE, () => granted.push('third'));
    expect(budget.take(LARGE)).toBe(false);
    budget.give(LARGE);
    expect(granted).toEqual([]);
    leave();
    leave();
    budget.give(4 * LARGE);
    expect(granted).toEqual(['first', 'third']);
    expect(budget.used).toBe(6 * LARGE);
  });

  it('goes on with those behind one that stopped waiting', () => {
    const budget = new ByteBudget(() => 4 * LARGE);
    budget.take(2 * LARGE);
    const granted: string[] = [];
    const leave = budget.wait(3 * LARGE, () => granted.push('large'));
    budget.wait(LARGE, () => granted.push('next'));
    leave();
    expect(granted).toEqual(['next']);
  });
});
