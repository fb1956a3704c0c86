// Prints "N passed, N failed[, N skipped]" from vitest's JSON report. A file that failed without a failed test counts as one;
// so does a missing report, or one without any test.
import { existsSync, readFileSync } from 'node:fs';

const count = { passed: 0, failed: 0, skipped: 0 };
const file = process.argv[2] ?? '';
const report = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { testResults: [] };
for (const { status, assertionResults } of report.testResults) {
  let failedHere = 0;
  for (const test of assertionResults) {
    if (test.status === 'passed') count.passed++;
    else if (test.status === 'failed') failedHere++;
    else count.skipped++;
  }
  count.failed += status === 'failed' ? Math.max(1, failedHere) : failedHere;
}
if (count.passed + count.failed === 0) count.failed = 1;
const skipped = count.skipped > 0 ? `, ${count.skipped} skipped` : '';
process.stdout.write(`${count.passed} passed, ${count.failed} failed${skipped}\n`);
if (count.failed > 0) process.exitCode = 1;
