import { defineConfig } from 'vitest/config';

// Three kinds of tests (see CONTRIBUTING.md). Docker and e2e files run one at a time: they share one engine on two cores,
// and a test that fails there gets two more tries, which the report shows: the machine may stall for seconds.
export default defineConfig({
  test: {
    projects: [
      {
        test: { name: 'unit', include: ['src/**/*.test.ts', 'test/soak/**/*.test.ts'], testTimeout: 10_000 },
      },
      {
        test: {
          name: 'docker',
          include: ['test/docker/**/*.test.ts'],
          fileParallelism: false,
          retry: 2,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          retry: 2,
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
