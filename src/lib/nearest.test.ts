import { describe, expect, it } from 'vitest';
import { editDistance, nearest } from './nearest.ts';

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['abc', 'abc', 0],
    ['', 'abc', 3],
    ['abc', '', 3],
    ['abc', 'abd', 1],
    ['abc', 'ab', 1],
    ['abc', 'xabc', 1],
    ['ab', 'ba', 1],
    ['timeout', 'tiemout', 1],
    ['kitten', 'sitting', 3],
    ['ca', 'abc', 3],
  ])('of %j and %j is %d', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
    expect(editDistance(b, a)).toBe(distance);
  });
});

describe('nearest', () => {
  const keys = ['environment', 'handler', 'isolation', 'timeout', 'memory', 'cpus'];

  it.each([
    ['enviroment', 'environment'],
    ['TIMEOUT', 'timeout'],
    ['handelr', 'handler'],
    ['memori', 'memory'],
    ['cpu', 'cpus'],
  ])('to %s is %s', (word, key) => {
    expect(nearest(word, keys)).toBe(key);
  });

  it.each(['', 'x', 'dockerfile', 'cp'])('to %j is none', (word) => {
    expect(nearest(word, keys)).toBeUndefined();
  });

  it('takes the first of equals, and none of none', () => {
    expect(nearest('ab', ['ac', 'ad'])).toBe('ac');
    expect(nearest('ab', [])).toBeUndefined();
  });
});
