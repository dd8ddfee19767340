// Sums vitest's JSON reports and prints the last line of a test run. Exit code 1 when anything failed.
// Usage: node sum-results.mjs <folder> <failed checks> <project...>
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const [folder, failedChecks, ...projects] = process.argv.slice(2);
const sum = { passed: 0, failed: Number(failedChecks), skipped: 0 };

for (const project of projects) {
  const report = readReport(project);
  sum.passed += report.numPassedTests;
  sum.failed += report.numFailedTests + filesFailedAsWhole(report);
  sum.skipped += report.numPendingTests + report.numTodoTests;
  // Errors outside of tests: vitest says no, and no test did.
  if (!report.success && report.numFailedTests + filesFailedAsWhole(report) === 0) sum.failed += 1;
}

console.log(`${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`);
process.exitCode = sum.failed === 0 ? 0 : 1;

/** A project that ended without a report counts as one failure. */
function readReport(project) {
  try {
    return JSON.parse(readFileSync(join(folder, `${project}.json`), 'utf8'));
  } catch {
    console.error(`the tests '${project}' left no report`);
    return {
      success: false,
      numPassedTests: 0,
      numFailedTests: 0,
      numPendingTests: 0,
      numTodoTests: 0,
      testResults: [],
    };
  }
}

/** Files that could not even be loaded: they have no tests in the report. */
function filesFailedAsWhole(report) {
  return report.testResults.filter((file) => file.status === 'failed' && !file.assertionResults.some(isFailed)).length;
}

function isFailed(result) {
  return result.status === 'failed';
}
