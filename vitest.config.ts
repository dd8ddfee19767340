import { configDefaults, defineConfig } from 'vitest/config';
import LongFirst from './test/support/long-first.ts';

// Four kinds of tests (see CONTRIBUTING.md). A test on the engine that fails gets two more tries, which the report shows: the
// machine may stall for seconds. Much of what these tests do is waiting, so two files run at a time.
const onEngine = { pool: 'forks' as const, retry: 2, testTimeout: 120_000, hookTimeout: 300_000 };

/**
 * One at a time, after all others: files that measure, that keep both cores busy, or that route the same addresses as
 * another one.
 */
const ALONE = ['blame', 'engine-faults', 'hostile', 'network-walls-builds', 'overload', 'soak'].map(
  (name) => `test/e2e/${name}.test.ts`,
);

export default defineConfig({
  test: {
    sequence: { sequencer: LongFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'test/soak/**/*.test.ts'],
          testTimeout: 10_000,
          // All cores; vitest would leave one out.
          maxWorkers: '100%',
        },
      },
      {
        test: {
          ...onEngine,
          name: 'docker',
          include: ['test/docker/**/*.test.ts'],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...onEngine,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...ALONE],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          ...onEngine,
          name: 'e2e-alone',
          include: ALONE,
          maxWorkers: 1,
          // Tests of one file beside each other: they have the machine, and many wait for a time limit.
          maxConcurrency: 8,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
