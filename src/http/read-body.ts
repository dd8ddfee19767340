import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { WorkerFrontError } from '../lib/errors.ts';

type Done = (error: Error | null, body?: Buffer | IncomingMessage) => void;

/**
 * A body parser for every content type that keeps the bytes. The limit is asked for at each request; a body over it,
 * announced or chunked, ends in `payload_too_large` before its bytes are kept. Routes that are `streamed` get the stream.
 */
export function createBodyReader(payloadLimit: () => number) {
  return (request: FastifyRequest, payload: IncomingMessage, done: Done): void => {
    if (request.facts.config.streamed) {
      done(null, payload);
      return;
    }
    const limit = payloadLimit();
    if (Number(request.headers['content-length']) > limit) {
      done(tooLarge(limit));
      return;
    }
    const chunks: Buffer[] = [];
    let received = 0;
    const finish = (error: Error | null, body?: Buffer) => {
      payload.off('data', onData);
      payload.off('end', onEnd);
      payload.off('error', onError);
      done(error, body);
    };
    const onData = (chunk: Buffer) => {
      received += chunk.length;
      if (received > limit) finish(tooLarge(limit));
      else chunks.push(chunk);
    };
    const onEnd = () => finish(null, chunks.length === 1 ? chunks[0] : Buffer.concat(chunks, received));
    const onError = (cause: Error) =>
      finish(new WorkerFrontError('invalid_request', 'the request ended before its body was complete', { cause }));
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
