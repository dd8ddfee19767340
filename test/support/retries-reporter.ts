import type { Reporter, TestModule } from 'vitest/node';

const MAX_CHARS = 3000;

/** Tells at the end why tests needed another try: vitest says how many, and not what failed. */
export default class RetriesReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state, errors = [] } = test.result();
        if (state !== 'passed') continue;
        for (const { message, diff = '' } of errors) {
          const words = `${message}\n${diff}`.trim().slice(0, MAX_CHARS);
          console.warn(`failed at first: ${module.relativeModuleId} > ${test.fullName}\n${words}\n`);
        }
      }
    }
  }
}
