import { isUtf8 } from 'node:buffer';
import { WorkerFrontError } from '../lib/errors.ts';
import { jsonFaultAt } from '../lib/json.ts';

/**
 * The event of an invocation as bytes: the body when there is one, else a JSON object of the query parameters but
 * `name` (a repeated one becomes an array). The body is only checked, never parsed. Rejects with `invalid_request` when it is no JSON in UTF-8.
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
  if (!isUtf8(body)) throw noJson('it is not valid UTF-8');
  const fault = jsonFaultAt(body);
  if (fault === body.length) throw noJson('it ends too early');
  if (fault !== undefined) {
    const character = JSON.stringify(String.fromCodePoint(body.toString('utf8', fault, fault + 4).codePointAt(0) ?? 0));
    throw noJson(`unexpected ${character} at byte ${fault}`);
  }
  return body;
}

function noJson(why: string): WorkerFrontError {
  return new WorkerFrontError('invalid_request', `the request body is no JSON: ${why}`);
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
