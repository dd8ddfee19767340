import { expect, it } from 'vitest';
import { BoundedMap } from './bounded-map.ts';

it('forgets what was set longest ago, and says what', () => {
  const map = new BoundedMap<string, number>(2);
  expect(map.set('a', 1)).toBeUndefined();
  expect(map.set('b', 2)).toBeUndefined();
  expect(map.set('a', 3)).toBeUndefined();
  expect(map.set('c', 4)).toBe('b');
  expect([map.get('a'), map.get('b'), map.get('c'), map.size]).toEqual([3, undefined, 4, 2]);
  map.delete('a');
  expect(map.set('d', 5)).toBeUndefined();
  map.clear();
  expect(map.size).toBe(0);
});
