// `npm run soak -- [--minutes 10] [--seed N]`: a daemon under everything at once (see soak.ts). Needs what the end-to-end tests
// need: a compiled daemon and the runtime images (`./scripts/quickstart` makes both). Exit code 1 when anything was wrong.
import { randomInt } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mib } from './snapshot.ts';
import { soak } from './soak.ts';

const { values } = parseArgs({ options: { minutes: { type: 'string' }, seed: { type: 'string' } } });
const minutes = Number(values.minutes ?? 10);
const seed = Number(values.seed ?? randomInt(2 ** 31));
if (!(minutes > 0) || !Number.isInteger(seed)) {
  console.error('usage: npm run soak -- [--minutes <number>] [--seed <whole number>]');
  process.exit(64);
}

const stamp = () => new Date().toISOString().slice(11, 19);
console.log(`seed ${seed}: npm run soak -- --minutes ${minutes} --seed ${seed}`);
const report = await soak({ seed, seconds: minutes * 60, say: (line) => console.log(`${stamp()} ${line}`) });
const { before, after } = report;
console.log('calls:', report.outcomes);
console.log('lost before their handler began:', report.lostBeforeBegin);
console.log('disturbances:', report.steps);
console.log(
  `after warm-up -> at the end: heap ${mib(before.heapBytes)} -> ${mib(after.heapBytes)}, buffers ${mib(before.externalBytes)} -> ${mib(after.externalBytes)}, ` +
    `resident ${mib(before.residentBytes)} -> ${mib(after.residentBytes)}, descriptors ${before.descriptors.length} -> ${after.descriptors.length}`,
);
for (const violation of report.violations) console.error(`WRONG: ${violation}`);
if (report.violations.length > 0) {
  const path = join(tmpdir(), `worker-front-soak-${seed}.log`);
  await writeFile(path, report.log.map((line) => `${JSON.stringify(line)}\n`).join(''));
  console.log(`${report.violations.length} violations; the daemon's log is in ${path}`);
  process.exitCode = 1;
} else {
  console.log('passed');
}
