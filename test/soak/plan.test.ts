import { expect, test } from 'vitest';
import { FUNCTIONS } from './functions.ts';
import { callSteps, killSteps, operateSteps, publishSteps } from './plan.ts';
import { Random } from './random.ts';

/** The first steps of every actor. */
function planOf(seed: number): unknown[][] {
  const random = new Random(seed);
  const names = FUNCTIONS.map(({ name }) => name);
  const actors: Iterator<unknown, never>[] = [
    callSteps(random.part(0)),
    publishSteps(random.part(1), names),
    operateSteps(random.part(2)),
    killSteps(random.part(3)),
    callSteps(random.part(4)),
  ];
  return actors.map((steps) => Array.from({ length: 200 }, () => steps.next().value));
}

test('the same seed gives the same plan, another one another plan', () => {
  expect(planOf(7)).toEqual(planOf(7));
  const [one, other] = [planOf(7), planOf(8)];
  for (const [actor, steps] of one.entries()) expect(steps).not.toEqual(other[actor]);
  expect(one[0]).not.toEqual(one[4]);
});

test('a plan has everything in it', () => {
  const [calls = [], publishing = [], operating = [], kills = []] = planOf(1) as Record<string, unknown>[][];
  const seen = (steps: Record<string, unknown>[], key: string) => new Set(steps.map((step) => step[key]));
  expect(seen(calls, 'function').size).toBeGreaterThanOrEqual(FUNCTIONS.length);
  expect([...seen(calls, 'ask')]).toEqual(
    expect.arrayContaining(['echo', 'sleep', 'throw', 'exit', 'memory', 'print']),
  );
  expect(calls.filter(({ hangUpMs }) => hangUpMs !== undefined).length).toBeGreaterThan(5);
  expect(Array.from(seen(publishing, 'kind'), String).sort()).toEqual(['bad', 'delete', 'put', 'rollback', 'upload']);
  expect(Array.from(seen(operating, 'kind'), String).sort()).toEqual(['clear', 'configure', 'look', 'prepare']);
  expect([...seen(operating, 'resetImages')]).toEqual(expect.arrayContaining([true, false]));
  expect(Array.from(seen(kills, 'target'), String).sort()).toEqual(['all', 'any', 'busy', 'idle']);
});
