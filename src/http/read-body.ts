import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { type ByteBudget, SMALL_BYTES } from '../lib/byte-budget.ts';
import { WorkerFrontError } from '../lib/errors.ts';
import type { BodyPace } from './body-pace.ts';
import { transferLimitMs } from './transfer-limit.ts';

type Done = (error: Error | null, body?: Buffer | IncomingMessage) => void;

/**
 * A body parser for every content type that keeps the bytes. The limit is asked for at each request; a body over it,
 * announced or chunked, ends in `payload_too_large` before its bytes are kept. One for which the budget of all bodies has
 * no room ends in `node_overloaded`; what is taken from the budget is given back when the reply is out, or the caller gone. Routes that
 * are `streamed` get the stream.
 */
export function createBodyReader(
  payloadLimit: () => number,
  budget: ByteBudget,
  pace: Pick<BodyPace, 'watch' | 'done'>,
) {
  return (request: FastifyRequest, payload: IncomingMessage, done: Done): void => {
    pace.watch(payload);
    if (request.facts.config.streamed) {
      done(null, payload);
      return;
    }
    const limit = payloadLimit();
    const announced = Number(request.headers['content-length'] ?? 0);
    if (announced > limit) {
      done(tooLarge(limit));
      return;
    }
    if (!request.facts.hold(budget, announced)) {
      done(overloaded());
      return;
    }
    const chunks: Buffer[] = [];
    // Of the announced size at once: pieces put together at the end would be twice the memory.
    const whole = announced > SMALL_BYTES ? Buffer.allocUnsafeSlow(announced) : undefined;
    let received = 0;
    const slow = announced > SMALL_BYTES ? setTimeout(onSlow, transferLimitMs(announced)).unref() : undefined;

    function finish(error: Error | null, body?: Buffer): void {
      clearTimeout(slow);
      payload.off('data', onData);
      payload.off('end', onEnd);
      payload.off('error', onError);
      pace.done(payload);
      done(error, body);
    }
    function onData(chunk: Buffer): void {
      const before = received;
      received += chunk.length;
      if (received > limit) finish(tooLarge(limit));
      else if (received > announced && !request.facts.hold(budget, received - Math.max(before, announced), received)) {
        finish(overloaded());
      } else if (whole) whole.set(chunk, before);
      else chunks.push(chunk);
    }
    function onEnd(): void {
      finish(null, whole ?? (chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, received)));
    }
    function onError(cause: Error): void {
      finish(new WorkerFrontError('invalid_request', 'the request ended before its body was complete', { cause }));
    }
    function onSlow(): void {
      finish(new WorkerFrontError('invalid_request', 'the request body came too slowly; send it faster than 50 kB/s'));
      payload.socket.destroySoon();
    }
    payload.on('data', onData);
    payload.on('end', onEnd);
    payload.on('error', onError);
  };
}

function tooLarge(limit: number): WorkerFrontError {
  return new WorkerFrontError(
    'payload_too_large',
    `the request body is over the limit of ${limit} bytes; send less, or raise PAYLOAD_LIMIT`,
    { details: { PayloadLimit: limit } },
  );
}

function overloaded(): WorkerFrontError {
  return new WorkerFrontError(
    'node_overloaded',
    'the bodies of other calls fill the memory for them (BUFFER_LIMIT); try again later',
    { retryAfter: 1 },
  );
}
