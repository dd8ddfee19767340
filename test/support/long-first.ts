import { basename } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take longest, the longest first: one that began last would run alone at the end, beside an idle worker. */
const LONG = [
  'bootstrap-container.test.ts',
  'fuzz.test.ts',
  'redeploy.test.ts',
  'reconfigure.test.ts',
  'bad-functions.test.ts',
  'stems.test.ts',
  'daemon-image.test.ts',
  'images-leaks.test.ts',
  'bootstrap-process.test.ts',
];

/** Orders the files of a project: long ones first, the others by name, so that each run has the same order. */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return files.toSorted(
      (a, b) =>
        a.project.config.sequence.groupOrder - b.project.config.sequence.groupOrder ||
        place(a.moduleId) - place(b.moduleId) ||
        (a.moduleId < b.moduleId ? -1 : 1),
    );
  }
}

function place(path: string): number {
  const at = LONG.indexOf(basename(path));
  return at < 0 ? LONG.length : at;
}
