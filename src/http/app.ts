import { randomUUID } from 'node:crypto';
import type { Server as HttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { type ErrorCode, WorkerFrontError } from '../lib/errors.ts';
import { createAccess } from './access/access.ts';
import { ANY_TOKEN, needsOf } from './access/needs.ts';
import type { Api } from './api.ts';
import { createAudited } from './audit.ts';
import { createBodyPace } from './body-pace.ts';
import { BusyPoll } from './busy-poll.ts';
import { createClientErrorHandler } from './client-error.ts';
import { allowOrigins } from './cors.ts';
import type { HttpDeps, HttpOptions } from './deps.ts';
import { errorReply, toWorkerFrontError } from './error-reply.ts';
import { InFlight } from './in-flight.ts';
import { lingerAfter } from './linger.ts';
import { describeRoutes } from './openapi.ts';
import { limitRates } from './rate-limit.ts';
import { createBodyReader } from './read-body.ts';
import { createTrack, type RequestFacts } from './request-facts.ts';
import { addRoutes } from './routes/routes.ts';
import { answerUnknownRoutes } from './routing-errors.ts';
import { serverOptions } from './server-options.ts';
import { createShapeCheck } from './shape.ts';
import { createCertificate } from './tls.ts';

/** A body must bring this much in each window of time; half a kilobyte a second is less than any line there is. */
const BODY_PACE = { windowMs: 20_000, minBytes: 10_000 };
/**
 * Connections that the kernel keeps until they are accepted (it takes the smaller of this and `net.core.somaxconn`). Node's
 * 511 are soon full in a flood while the process does not get a core, and what does not fit waits for TCP's retries: seconds.
 */
const BACKLOG = 4096;
/** Longest part of a path that reaches a route, which then says what is wrong with it. */
const MAX_PARAM = 1000;

/** The HTTP side of the daemon. */
export interface HttpApp {
  /** For `inject` in tests. */
  readonly fastify: Api;
  /** SHA-256 fingerprint of the certificate that new connections get; undefined: plain HTTP. */
  readonly certificate: string | undefined;
  /** Listens; resolves with the real port. Rejects with Node's error (`EADDRINUSE`, ...). */
  listen(port: number): Promise<{ host: string; port: number }>;
  /**
   * From now on new requests are refused with `shutting_down`, and `readyz` is red; connections are still taken, so that
   * callers hear that. Resolves when every request that was let in before is answered. Idempotent.
   */
  drain(): Promise<void>;
  /** Drains, stops listening, and resolves when the last reply is out. Idempotent; safe before `listen`. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Builds the app with all routes; it does not listen yet. */
export async function createHttpApp(options: HttpOptions, deps: HttpDeps): Promise<HttpApp> {
  const { logger } = deps;
  const access = createAccess({ allowedHosts: [], allowedOrigins: [], ...options, tokens: deps.tokens });
  const answeredEarly = new WeakSet<Socket>();
  const track = createTrack({ ...deps, answeredEarly });
  const checkShape = createShapeCheck();
  const poll = options.busyPoll && new BusyPoll(options.busyPoll);
  const inFlight = new InFlight(poll && ((count) => poll.moved(count)));
  let draining = false;

  const sendError = (error: unknown, request: FastifyRequest, reply: FastifyReply): void => {
    const known = toWorkerFrontError(error);
    request.facts.errorCode = known.code;
    if (known.code === 'internal_error' && !request.facts.gone) {
      logger.error(
        { id: request.id, function: request.facts.functionName, err: known.cause ?? known },
        'internal error',
      );
    }
    if (LINGERING.has(known.code) || request.facts.config.streamed) lingerAfter(request, reply);
    const { status, headers, body } = errorReply(known, request.id);
    reply.code(status).headers(headers).send(body);
  };

  const fastify = Fastify({
    logger: false,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    keepAliveTimeout: options.keepAliveTimeoutMs ?? 72_000,
    requestTimeout: options.requestTimeoutMs ?? 600_000,
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PARAM },
    trustProxy: options.trustProxy?.length ? [...options.trustProxy] : false,
    ...serverOptions(options),
    // Given here, for else Fastify loads compilers of its own, which nobody uses.
    schemaController: {
      compilersFactory: {
        buildValidator: () => validatorCompiler as never,
        buildSerializer: () => serializerCompiler as never,
      },
    },
    clientErrorHandler: createClientErrorHandler({ logger, newId: randomUUID, answeredEarly }),
    // URLs that the router cannot read never reach the hooks below.
    frameworkErrors(error, request, reply) {
      track(request, reply);
      try {
        checkShape(request, reply);
        request.facts.caller = access(request, reply, ANY_TOKEN);
        sendError(error, request, reply);
      } catch (refusal) {
        sendError(refusal, request, reply);
      }
    },
  }).withTypeProvider<ZodTypeProvider>() as unknown as Api;

  fastify.server.maxConnections = options.maxConnections ?? 10_000;
  fastify.setErrorHandler(sendError);
  fastify.decorateRequest('facts', undefined as unknown as RequestFacts);
  fastify.removeAllContentTypeParsers();
  const pace = createBodyPace({ ...BODY_PACE, ...options.bodyPace, onSlow: (socket) => endLate(fastify, socket) });
  fastify.addContentTypeParser('*', createBodyReader(deps.payloadLimit, deps.buffers.requests, pace));
  // An event may come with any method; a GET with a body is rare, but clear in what it means.
  fastify.addHttpMethod('GET', { hasBody: true, overrideExisting: true });

  fastify.addHook('onRequest', (request, reply, done) => {
    track(request, reply);
    checkShape(request, reply);
    done();
  });
  const { allowedOrigins = [], rateLimit } = options;
  if (allowedOrigins.length > 0) await allowOrigins(fastify, allowedOrigins);
  fastify.addHook('onRequest', (request, reply, done) => {
    const { config } = request.facts;
    if (draining) {
      reply.header('connection', 'close');
      if (!config.whileDraining) {
        throw new WorkerFrontError('shutting_down', 'this node is shutting down; try another one, or later');
      }
    } else if (!config.whileDraining) {
      inFlight.enter();
      request.facts.countedBy = inFlight;
    }
    if (!config.open) request.facts.caller = access(request, reply, request.is404 ? ANY_TOKEN : needsOf(config));
    // Before the body: Fastify has own words about bodies of methods it does not know well.
    if (request.is404) refuseUnknown(request, reply);
    done();
  });
  // Requests that came before the end of the connection was decided still have to say so in their reply.
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining) reply.header('connection', 'close');
    done();
  });
  fastify.addHook('preClose', (done) => {
    draining = true;
    done();
  });

  const describe = describeRoutes(fastify);
  const refuseUnknown = answerUnknownRoutes(fastify);
  if (rateLimit !== undefined) await limitRates(fastify, rateLimit);
  addRoutes(fastify, { ...deps, isDraining: () => draining, describe, audited: createAudited(deps.audit) });

  const certificate = options.tls && createCertificate(fastify.server as unknown as HttpsServer, options.tls, logger);
  let closing: Promise<void> | undefined;
  const close = () =>
    (closing ??= closeApp(fastify).finally(() => {
      pace.close();
      certificate?.close();
    }));
  return {
    fastify,
    get certificate() {
      return certificate?.fingerprint;
    },
    async listen(port) {
      await fastify.listen({ host: options.host, port, backlog: BACKLOG });
      const address = fastify.server.address();
      return { host: options.host, port: typeof address === 'object' && address !== null ? address.port : port };
    },
    drain() {
      draining = true;
      return inFlight.idle();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Errors whose sender may go on with a long body, which nobody wants any more. */
const LINGERING: ReadonlySet<ErrorCode> = new Set([
  'payload_too_large',
  'node_overloaded',
  'unauthorized',
  'forbidden',
]);

/** The request is not going to arrive: answered as Node.js does when a whole request takes too long. */
function endLate({ server }: Api, socket: Socket): void {
  server.emit('clientError', Object.assign(new Error('slow body'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' }), socket);
}

/** Milliseconds between looks for connections that have become idle while the app closes. */
const IDLE_CHECK = 50;

/** Fastify ends idle connections once; those that become idle later, without a reply that ends them, are ended here. */
async function closeApp(fastify: Api): Promise<void> {
  const idle = setInterval(() => fastify.server.closeIdleConnections(), IDLE_CHECK);
  try {
    await fastify.close();
  } finally {
    clearInterval(idle);
  }
}
