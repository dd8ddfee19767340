import { isAscii, isUtf8 } from 'node:buffer';
import { messageOf, WorkerFrontError } from '../lib/errors.ts';

const MAX_QUOTE = 200;

/**
 * The event of an invocation as bytes: the body when there is one, else a JSON object of the query parameters but
 * `name` (a repeated one becomes an array). The body is only checked, never parsed into the reply's way: parsing and
 * throwing away is the cheapest check there is. Rejects with `invalid_request` when it is no JSON in UTF-8.
 */
export function eventOf(
  body: Buffer | undefined,
  query: Record<string, string | string[]>,
  contentEncoding: string | undefined,
): Uint8Array {
  if (body === undefined || body.length === 0) return eventOfQuery(query);
  if (contentEncoding !== undefined && contentEncoding !== '' && contentEncoding.toLowerCase() !== 'identity') {
    throw new WorkerFrontError(
      'invalid_request',
      'the request body must not be compressed: send it without Content-Encoding',
    );
  }
  const ascii = isAscii(body);
  if (!ascii && !isUtf8(body)) {
    throw new WorkerFrontError('invalid_request', 'the request body is no JSON: it is not valid UTF-8');
  }
  try {
    JSON.parse(ascii ? body.toString('latin1') : body.toString());
  } catch (error) {
    throw new WorkerFrontError(
      'invalid_request',
      `the request body is no JSON: ${messageOf(error).slice(0, MAX_QUOTE)}`,
      {
        cause: error,
      },
    );
  }
  return body;
}

const EMPTY_OBJECT = Buffer.from('{}');

function eventOfQuery(query: Record<string, string | string[]>): Uint8Array {
  let event: Record<string, string | string[]> | undefined;
  for (const key in query) {
    if (key === 'name') continue;
    event ??= Object.create(null) as Record<string, string | string[]>;
    event[key] = query[key] as string | string[];
  }
  return event === undefined ? EMPTY_OBJECT : Buffer.from(JSON.stringify(event));
}
