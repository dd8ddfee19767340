import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';
import type { PartReport } from './report.ts';
import { ratioOf } from './result.ts';

/** `part: what` of a comparison -> the ratio of ours to the limit that is still fine. */
const boundsSchema = z.record(
  z.string(),
  z.strictObject({ least: z.number().positive().optional(), most: z.number().positive().optional() }),
);

/**
 * One line per bound: kept, passed, or not measured. Passed bounds are warnings: a noisy machine passes them, too.
 * Rejects with `invalid_request` when the file is wrong.
 */
export async function compareWithBounds(parts: readonly PartReport[], file: string): Promise<string> {
  const bounds = await readBounds(file);
  const ratios = new Map<string, number>();
  for (const { name, result } of parts) {
    for (const comparison of result?.comparisons ?? []) {
      ratios.set(`${name}: ${comparison.what}`, ratioOf(comparison).median);
    }
  }
  const lines = Object.entries(bounds).map(([what, { least = 0, most = Number.POSITIVE_INFINITY }]) => {
    const ratio = ratios.get(what);
    if (ratio === undefined) return `WARNING: ${what}: not measured`;
    const fine = ratio >= least && ratio <= most;
    const range = Number.isFinite(most) ? `at most ${most}` : `at least ${least}`;
    return `${fine ? 'ok' : 'WARNING'}: ${what}: ${ratio.toFixed(2)} of its limit (${range})`;
  });
  return lines.join('\n');
}

async function readBounds(file: string): Promise<z.infer<typeof boundsSchema>> {
  try {
    return boundsSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (cause) {
    throw new WorkerFrontError('invalid_request', `${file} has no bounds (${messageOf(cause)})`, { cause });
  }
}
