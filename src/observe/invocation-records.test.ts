import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createInvocationRecords } from './invocation-records.ts';

interface Item {
  id: string;
  bytes: number;
}
const create = (limit: number, maxBytes = 1000) =>
  createInvocationRecords<Item>({ limit, maxBytes, bytesOf: (item) => item.bytes });

test('keeps the last ones', () => {
  const records = create(2);
  for (const id of ['a', 'b', 'c']) records.put({ id, bytes: 1 });
  expect([records.get('a'), records.get('b')?.id, records.get('c')?.id]).toEqual([undefined, 'b', 'c']);
});

test('keeps no more bytes than it may, but always the last record', () => {
  const records = create(100, 10);
  records.put({ id: 'a', bytes: 6 });
  records.put({ id: 'b', bytes: 6 });
  expect([records.get('a'), records.get('b')?.id]).toEqual([undefined, 'b']);
  records.put({ id: 'huge', bytes: 50 });
  expect([records.size, records.bytes]).toEqual([1, 50]);
  records.put({ id: 'c', bytes: 1 });
  expect([records.size, records.bytes]).toEqual([1, 1]);
});

test('a record that grows is counted anew, in its place', () => {
  const records = create(2, 10);
  records.put({ id: 'a', bytes: 0 });
  records.put({ id: 'b', bytes: 0 });
  records.put({ id: 'a', bytes: 8 });
  expect(records.bytes).toBe(8);
  records.put({ id: 'c', bytes: 0 });
  expect(records.get('a')).toBeUndefined();
  expect(records.bytes).toBe(0);
});

test('the limit can change, to none too', () => {
  const records = create(10);
  for (const id of ['a', 'b', 'c']) records.put({ id, bytes: 1 });
  records.setLimit(1);
  expect([records.size, records.get('c')?.id]).toEqual([1, 'c']);
  records.setLimit(0);
  records.put({ id: 'd', bytes: 1 });
  expect([records.size, records.bytes]).toEqual([0, 0]);
  records.setLimit(2);
  records.put({ id: 'e', bytes: 1 });
  expect(records.get('e')?.id).toBe('e');
});

test('is right after any number of puts (the order is copied now and then)', () => {
  const records = create(100);
  for (let i = 0; i < 5000; i++) records.put({ id: String(i), bytes: 1 });
  expect([records.size, records.bytes]).toEqual([100, 100]);
  expect([records.get('4899'), records.get('4900')?.id]).toEqual([undefined, '4900']);
});

test('limits and sums hold whatever happens', () => {
  const step = fc.oneof(
    fc.record({ id: fc.constantFrom('a', 'b', 'c', 'd', 'e'), bytes: fc.nat(20) }),
    fc.record({ limit: fc.nat(4) }),
  );
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let limit = 3;
      const records = create(limit, 30);
      for (const one of steps) {
        if ('limit' in one) records.setLimit((limit = one.limit));
        else records.put(one);
        const kept = ['a', 'b', 'c', 'd', 'e'].flatMap((id) => records.get(id) ?? []);
        expect(kept.length).toBe(records.size);
        expect(records.size).toBeLessThanOrEqual(limit);
        expect(records.bytes).toBe(kept.reduce((sum, item) => sum + item.bytes, 0));
        expect(records.bytes <= 30 || records.size === 1).toBe(true);
      }
    }),
  );
});
