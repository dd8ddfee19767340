import { jsonLines, LineSplitter } from './lines.ts';

/** How much of the output an error carries. */
const KEPT_LINES = 40;
const KEPT_LENGTH = 2000;

export interface Progress {
  /** The last lines of output, oldest first. */
  output: string[];
  /** The engine's words when something failed; undefined for success. */
  error: string | undefined;
  /** Id of the image that was built. */
  imageId: string | undefined;
}

/**
 * Reads the output of a build or pull to its end. It is one JSON object per line, and the status of the answer is 200
 * whatever comes later: an object with `error` or `errorDetail` anywhere in it is a failure. `stream` carries pieces of
 * text that are cut anywhere; `status` carries whole lines, and progress bars that nobody wants in a log.
 */
export async function readProgress(
  source: AsyncIterable<Buffer>,
  onOutput: (line: string) => void = () => undefined,
): Promise<Progress> {
  const result: Progress = { output: [], error: undefined, imageId: undefined };
  const say = (line: string) => {
    // Programs that draw progress with carriage returns: only the last picture counts.
    const shown = line.slice(line.lastIndexOf('\r') + 1);
    if (shown.trim() === '') return;
    result.output.push(shown.slice(0, KEPT_LENGTH));
    if (result.output.length > KEPT_LINES) result.output.shift();
    onOutput(shown);
  };
  const stream = new LineSplitter(say);
  for await (const entry of jsonLines(source)) {
    const { stream: text, status, id, progress, aux } = entry;
    if (typeof text === 'string') stream.push(text);
    if (typeof status === 'string' && !progress) say(typeof id === 'string' ? `${id}: ${status}` : status);
    if (isRecord(aux) && typeof aux['ID'] === 'string') result.imageId = aux['ID'];
    const error = errorOf(entry);
    if (error !== undefined) {
      stream.end();
      say(error);
      result.error ??= error;
    }
  }
  stream.end();
  return result;
}

function errorOf(entry: Record<string, unknown>): string | undefined {
  const { error, errorDetail } = entry;
  if (isRecord(errorDetail) && typeof errorDetail['message'] === 'string') return errorDetail['message'];
  if (typeof error === 'string') return error;
  return error || errorDetail ? JSON.stringify(error ?? errorDetail) : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
