import { randomInt } from 'node:crypto';
import { expect, test } from 'vitest';
import { soak } from '../soak/soak.ts';

// The short form of `npm run soak`: another seed each time, which the failure names.

test('a minute of everything at once: every call answered once and rightly, nothing left', async () => {
  const seed = randomInt(2 ** 31);
  // With the ends of what has begun, about a minute.
  const report = await soak({ seed, seconds: 60 });
  expect(report.violations, `npm run soak -- --minutes 1 --seed ${seed}`).toEqual([]);
  expect(report.outcomes['ok']).toBeGreaterThan(10);
  const { clear, configure, look, prepare, put, upload, rollback, bad, delete: deleted, ...kills } = report.steps;
  const sum = (...counts: (number | undefined)[]) => counts.reduce<number>((total, count) => total + (count ?? 0), 0);
  expect(sum(put, upload, rollback, bad, deleted)).toBeGreaterThan(2);
  // Few where a preparation of all functions takes most of the time.
  expect(sum(clear, configure, look, prepare)).toBeGreaterThan(2);
  expect(sum(...Object.values(kills))).toBeGreaterThan(3);
}, 1_200_000);
