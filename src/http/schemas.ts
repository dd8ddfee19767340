import { z } from 'zod';
import { ISOLATIONS, isFunctionName, NETWORKS } from '../functions/manifest.ts';
import { ERROR_CODES, type ErrorCode } from '../lib/errors.ts';
import { STATUS } from './status.ts';

export const functionNameSchema = z
  .string()
  .refine(isFunctionName, { error: 'a function name has 1 to 64 of the characters A-Z a-z 0-9 _ -' })
  .meta({ description: 'Name of a function.', pattern: '^[A-Za-z0-9_-]{1,64}$', example: 'W1' });

const milliseconds = z.number().min(0);

export const timingsSchema = z
  .object({
    queue: milliseconds.meta({ description: 'Waiting for a free sandbox or a place to start one.' }),
    fetch: milliseconds.meta({ description: 'Download and unpacking.' }),
    build: milliseconds.meta({ description: 'Image build.' }),
    create: milliseconds.meta({ description: 'Container creation.' }),
    start: milliseconds.meta({ description: 'Container start until the bootstrap has dialled in.' }),
    load: milliseconds.meta({ description: 'Loading the handler.' }),
    run: milliseconds.meta({ description: 'From sending the event to the last byte of the result.' }),
  })
  .meta({ id: 'Timings', description: 'Where the time went, in fractional milliseconds.' });

export const metaSchema = z
  .object({
    ImageBuilt: z.boolean(),
    UsingPooledContainer: z.boolean(),
    UsingExistingRestContainer: z.boolean(),
    ContainerName: z.string(),
    ImageName: z.string(),
    FunctionVersion: z.string(),
    Environment: z.string().meta({ description: 'The real environment, not an alias.' }),
    Isolation: z.enum(ISOLATIONS),
    Start: z.enum(['reused', 'pooled', 'stem', 'cold', 'built']),
  })
  .meta({ id: 'Meta', description: 'The sandbox that served an invocation.' });

const wholeMs = z.number().int().min(0);

export const executeReplySchema = z
  .object({
    Result: z.unknown().meta({
      description: 'What the handler returned: any JSON value, usually {"statusCode": 200, "body": "..."}.',
    }),
    ExecutionTime: wholeMs.meta({ description: 'Whole time in the daemon, milliseconds.' }),
    InternalExecutionTime: wholeMs.meta({ description: 'Time of the handler, milliseconds.' }),
    Meta: metaSchema,
    InvocationId: z.string(),
    Timings: timingsSchema,
    MaxMemoryUsed: z.number().int().nullable().meta({ description: 'Bytes; null where it cannot be measured.' }),
  })
  .meta({ id: 'ExecuteReply' });

export const invocationSchema = z
  .object({
    InvocationId: z.string(),
    Function: z.string(),
    RequestId: z.string().nullable().meta({ description: "The caller's X-Request-Id, cleaned." }),
    StartedAt: z.string().meta({ description: 'ISO 8601.' }),
    State: z.enum(['running', 'succeeded', 'failed']),
    Code: z.string().nullable(),
    Message: z.string().nullable(),
    ExecutionTime: wholeMs.nullable(),
    InternalExecutionTime: wholeMs.nullable(),
    Meta: metaSchema.nullable(),
    Timings: timingsSchema.nullable(),
    MaxMemoryUsed: z.number().int().nullable(),
    Output: z
      .object({
        Chunks: z.array(z.object({ Stream: z.enum(['stdout', 'stderr']), Text: z.string() })),
        DroppedBytes: z.number().int().min(0).meta({ description: 'Bytes left out because of LOG_LIMIT.' }),
      })
      .nullable(),
  })
  .meta({ id: 'Invocation', description: 'Record of a recent invocation.' });

export const functionSummarySchema = z
  .object({
    Name: z.string(),
    Version: z.string().nullable().meta({ description: 'null while it was never called on this node.' }),
    Environment: z.string().nullable(),
    State: z.enum(['known', 'preparing', 'ready', 'failed']),
  })
  .meta({ id: 'FunctionSummary' });

export const functionDetailSchema = z
  .object({
    ...functionSummarySchema.shape,
    Manifest: z
      .object({
        Environment: z.string(),
        Handler: z.string().nullable(),
        Isolation: z.enum(ISOLATIONS).nullable(),
        Concurrency: z.number().nullable(),
        MaxSandboxes: z.number().nullable(),
        CancelOnDisconnect: z.boolean().nullable(),
        Timeout: z.number().nullable().meta({ description: 'Seconds.' }),
        Memory: z.number().nullable().meta({ description: 'Bytes.' }),
        Cpus: z.number().nullable(),
        EnvNames: z.array(z.string()).meta({ description: 'Names of the variables in env; values are not shown.' }),
        Network: z.enum(NETWORKS).nullable(),
        Runtime: z.string().nullable(),
        Prewarm: z.number().nullable(),
      })
      .nullable()
      .meta({ description: "The function's config.json; null marks what it leaves to the node's settings." }),
    Versions: z.array(
      z.object({
        Version: z.string(),
        Current: z.boolean(),
        Bytes: z.number(),
        Tag: z.string(),
        ImageBuilt: z.boolean(),
      }),
    ),
    Sandboxes: z
      .record(z.string(), z.number())
      .meta({ description: 'Sandboxes of all versions by state: starting, ready, busy, draining, ...' }),
    Waiting: z.number().meta({ description: 'Calls that wait for a sandbox.' }),
    Problem: z
      .object({ Code: z.string(), Message: z.string(), Details: z.record(z.string(), z.unknown()).nullable() })
      .nullable()
      .meta({ description: 'Why the newest object in the code source is not served, or why calls are refused.' }),
  })
  .meta({ id: 'FunctionDetail' });

export const deploymentSchema = z
  .object({
    Name: z.string(),
    Version: z.string().meta({ description: 'The version that serves now.' }),
    Environment: z.string().meta({ description: 'The real environment, not an alias.' }),
    Tag: z.string().meta({ description: 'Change tag of the object in the code source that it came from.' }),
    Previous: z.string().nullable().meta({ description: 'The version that served before; null: none.' }),
  })
  .meta({ id: 'Deployment' });

export const errorReplySchema = z
  .object({
    Error: z.literal(true),
    Code: z.enum(ERROR_CODES),
    Message: z.string().meta({ description: 'What happened and what to do.' }),
    InvocationId: z.string(),
    Details: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'ErrorReply', description: 'The one shape of every error.' });

/** Codes that every route but the health routes can answer with. */
const COMMON: readonly ErrorCode[] = [
  'invalid_request',
  'unauthorized',
  'forbidden',
  'payload_too_large',
  'too_many_requests',
  'shutting_down',
  'internal_error',
];

/** The `response` entries of a route's errors, by status: those every route has and those named. */
export function errorResponses(...codes: ErrorCode[]) {
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of new Set([...COMMON, ...codes]))
    byStatus.set(STATUS[code], [...(byStatus.get(STATUS[code]) ?? []), code]);
  return Object.fromEntries(
    [...byStatus].map(([status, list]) => [
      status,
      { description: list.join(', '), content: { 'application/json': { schema: errorReplySchema } } },
    ]),
  );
}
