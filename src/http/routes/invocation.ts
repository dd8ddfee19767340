import { z } from 'zod';
import type { InvocationRecord } from '../../invoke/invocation.ts';
import { WorkerFrontError } from '../../lib/errors.ts';
import { maySee } from '../../tokens/caller.ts';
import type { Api } from '../api.ts';
import type { HttpDeps } from '../deps.ts';
import { shownError } from '../error-reply.ts';
import { metaView, timingsView, wholeTimes } from '../execute-reply.ts';
import { errorResponses, invocationSchema } from '../schemas.ts';

const schema = {
  summary: 'Record of a recent invocation',
  description: 'Outcome, timings, peak memory and captured output. The last INVOCATION_HISTORY ones are kept.',
  tags: ['functions'],
  params: z.object({ id: z.string().meta({ description: '`InvocationId` of a reply.' }) }),
  response: {
    200: { description: 'The record.', content: { 'application/json': { schema: invocationSchema } } },
    ...errorResponses('invocation_not_found'),
  },
};

export function invocationRoute(app: Api, deps: Pick<HttpDeps, 'invoker'>): void {
  app.route({
    method: 'GET',
    url: '/invocations/:id',
    schema,
    config: { needs: 'read' },
    async handler(request) {
      const record = deps.invoker.record(request.params.id);
      const { caller } = request.facts;
      // To a token of other functions, a record that it may not see is one that is not there.
      if (record !== undefined && caller !== undefined && maySee(caller, record.name)) return recordView(record);
      throw new WorkerFrontError(
        'invocation_not_found',
        'there is no record of this invocation; only the last INVOCATION_HISTORY ones are kept',
      );
    },
  });
}

/** Of an internal error the text of its reply: the cause is for the log. */
function messageOf({ code, message }: InvocationRecord): string | null {
  if (message === undefined) return null;
  return code === undefined ? message : shownError({ code, message }).Message;
}

function recordView(record: InvocationRecord) {
  const times = record.executionMs === undefined ? undefined : wholeTimes(record.executionMs, record.handlerMs ?? 0);
  return {
    InvocationId: record.id,
    Function: record.name,
    RequestId: record.requestId ?? null,
    // oxlint-disable-next-line no-restricted-globals -- for people
    StartedAt: new Date(record.startedAt).toISOString(),
    State: record.state,
    Code: record.code ?? null,
    Message: messageOf(record),
    ExecutionTime: times?.executionTime ?? null,
    InternalExecutionTime: record.handlerMs === undefined ? null : (times?.internalExecutionTime ?? null),
    Meta: record.meta ? metaView(record.meta) : null,
    Timings: record.timings ? timingsView(record.timings) : null,
    MaxMemoryUsed: record.maxMemoryUsed ?? null,
    Output: record.output
      ? {
          Chunks: record.output.chunks.map(({ stream, text }) => ({ Stream: stream, Text: text })),
          DroppedBytes: record.output.droppedBytes,
        }
      : null,
  };
}
