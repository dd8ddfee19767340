import { Readable } from 'node:stream';
import type { FastifyReply } from 'fastify';
import { z } from 'zod';
import { isFunctionName } from '../../functions/manifest.ts';
import { SMALL_BYTES } from '../../lib/byte-budget.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { ANY_METHOD, type Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
import { JSON_TYPE } from '../error-reply.ts';
import { eventOf } from '../event.ts';
import { aroundResult, executeBody, executeParts } from '../execute-reply.ts';
import { documented } from '../openapi.ts';
import { errorResponses, executeReplySchema, functionNameSchema } from '../schemas.ts';
import { transferLimitMs } from '../transfer-limit.ts';

const schema = {
  summary: 'Invoke a function',
  description:
    'The request body is the event, one JSON value. Without a body the query parameters other than `name` are the event.',
  tags: ['functions'],
  querystring: z.looseObject({ name: functionNameSchema }),
  body: z.unknown().meta({ description: 'The event.' }),
  response: {
    200: {
      description: 'The result.',
      content: { 'application/json': { schema: executeReplySchema } },
    },
    ...errorResponses(
      'function_not_found',
      'invalid_function',
      'build_failed',
      'init_failed',
      'too_many_requests',
      'handler_error',
      'handler_crashed',
      'out_of_memory',
      'response_too_large',
      'invalid_response',
      'sandbox_lost',
      'code_source_error',
      'node_overloaded',
      'engine_unavailable',
      'function_timeout',
      'init_timeout',
      'build_timeout',
      'storage_full',
    ),
  },
};

/** The hot path: no schema work per request, bytes in, bytes out. */
export function executeRoute(app: Api, deps: Pick<HttpDeps, 'invoker' | 'buffers'>): void {
  const { invoker, buffers } = deps;
  app.route({
    method: [...ANY_METHOD],
    url: '/execute',
    config: { ...documented(schema), needs: 'invoke' },
    onRequest(request, _reply, done) {
      // The event is JSON whatever the header says; without it Fastify does not judge it either.
      if (request.raw.headers['content-type'] !== undefined) delete request.raw.headers['content-type'];
      done();
    },
    async handler(request, reply) {
      const { facts } = request;
      const query = request.query as Record<string, string | string[]>;
      const name = nameOf(query.name);
      facts.useFunction(name);
      const invocation = await invoker.invoke({
        id: request.id,
        name,
        event: eventOf(request.body as Buffer | undefined, query, request.raw.headers['content-encoding']),
        requestId: facts.requestId,
        signal: facts.leaving,
      });
      reply.header('content-type', JSON_TYPE);
      const { result } = invocation;
      const { tail, serverTiming } = aroundResult(invocation);
      reply.header('server-timing', serverTiming);
      facts.holdAnyway(buffers.replies, result.length);
      if (result.length <= SMALL_BYTES) return reply.send(executeBody(result, tail));
      return sendLarge(reply, executeParts(result, tail));
    },
  });
}

/** Without a copy of the result; a client that does not take it in time is cut off. */
function sendLarge(reply: FastifyReply, parts: Uint8Array[]): FastifyReply {
  let bytes = 0;
  for (const part of parts) bytes += part.length;
  const cut = setTimeout(() => reply.raw.destroy(), transferLimitMs(bytes)).unref();
  reply.raw.once('close', () => clearTimeout(cut));
  reply.header('content-length', bytes);
  return reply.send(Readable.from(parts, { objectMode: false }));
}

function nameOf(param: string | string[] | undefined): string {
  if (param === undefined) throw new WorkerFrontError('invalid_request', "param 'name' is not given");
  if (typeof param !== 'string') throw new WorkerFrontError('invalid_request', "param 'name' is given more than once");
  if (isFunctionName(param)) return param;
  throw new WorkerFrontError(
    'invalid_request',
    "param 'name' is no function name: 1 to 64 of the characters A-Z a-z 0-9 _ -",
  );
}
