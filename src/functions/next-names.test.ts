import fc from 'fast-check';
import { expect, it } from 'vitest';
import { nextNames } from './next-names.ts';

/** Every name looked at. */
function naive(sorted: readonly string[], others: readonly string[], after: string, only?: ReadonlySet<string>) {
  return [...new Set([...sorted, ...others])].filter((name) => name > after && (only?.has(name) ?? true)).sort();
}

it('gives what a look at every name gives', () => {
  const name = fc.string({ unit: fc.constantFrom('a', 'b', '-', 'B', '_', '0'), maxLength: 3, minLength: 1 });
  const some = fc.uniqueArray(name, { maxLength: 30 });
  fc.assert(
    fc.property(
      some,
      some,
      fc.oneof(fc.constant(''), name),
      fc.integer({ min: 1, max: 40 }),
      fc.option(some),
      (source, others, after, limit, only) => {
        const sorted = source.toSorted();
        const wanted = only === null ? undefined : new Set(only);
        const all = naive(sorted, others, after, wanted);
        expect(nextNames(sorted, others, { after, limit, only: wanted })).toEqual({
          names: all.slice(0, limit),
          more: all.length > limit,
        });
      },
    ),
    { numRuns: 2000 },
  );
});

it('looks at no more names than the page has, and a few to find its beginning', () => {
  let looks = 0;
  const names = Array.from({ length: 10_000 }, (_, index) => `f${String(index).padStart(5, '0')}`);
  const sorted = new Proxy(names, {
    get(target, key, receiver) {
      if (typeof key === 'string' && /^\d+$/.test(key)) looks += 1;
      return Reflect.get(target, key, receiver) as unknown;
    },
  });
  const page = nextNames(sorted, ['f07000x', 'zzz'], { after: 'f06999', limit: 100 });
  expect(page.names).toHaveLength(100);
  expect(page.names.slice(0, 2)).toEqual(['f07000', 'f07000x']);
  expect(page.more).toBe(true);
  expect(looks).toBeLessThan(130);
});
