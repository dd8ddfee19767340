import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify';
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from 'fastify-type-provider-zod';
import { WorkerFrontError } from '../lib/errors.ts';
import { createAccess } from './access/access.ts';
import { ANY_TOKEN, needsOf } from './access/needs.ts';
import type { Api } from './api.ts';
import { createAudited } from './audit.ts';
import { createClientErrorHandler } from './client-error.ts';
import type { HttpDeps, HttpOptions } from './deps.ts';
import { errorReply, toWorkerFrontError } from './error-reply.ts';
import { lingerAfter } from './linger.ts';
import { describeRoutes } from './openapi.ts';
import { createBodyReader } from './read-body.ts';
import { createTrack, type RequestFacts } from './request-facts.ts';
import { addRoutes } from './routes/routes.ts';
import { answerUnknownRoutes } from './routing-errors.ts';

/** Bytes of the request line and all headers. */
const MAX_HEADERS = 16 * 1024;
/** Milliseconds to send the request line and headers. */
const HEADERS_TIMEOUT = 20_000;
/** Longest part of a path that reaches a route, which then says what is wrong with it. */
const MAX_PARAM = 1000;

/** The HTTP side of the daemon. */
export interface HttpApp {
  /** For `inject` in tests. */
  readonly fastify: Api;
  /** Listens; resolves with the real port. Rejects with Node's error (`EADDRINUSE`, ...). */
  listen(port: number): Promise<{ host: string; port: number }>;
  /** From now on new calls are refused with `shutting_down`; those in flight go on, health routes answer. */
  drain(): void;
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
    if (known.code === 'payload_too_large' || known.code === 'node_overloaded' || request.facts.config.streamed)
      lingerAfter(request, reply);
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
    http: {
      maxHeaderSize: MAX_HEADERS,
      headersTimeout: Math.min(HEADERS_TIMEOUT, options.requestTimeoutMs ?? HEADERS_TIMEOUT),
      connectionsCheckingInterval: Math.min(5000, options.requestTimeoutMs ?? 5000),
    },
    clientErrorHandler: createClientErrorHandler({ logger, newId: randomUUID, answeredEarly }),
    // URLs that the router cannot read never reach the hooks below.
    frameworkErrors(error, request, reply) {
      track(request, reply);
      try {
        request.facts.caller = access(request, reply, ANY_TOKEN);
        sendError(error, request, reply);
      } catch (refusal) {
        sendError(refusal, request, reply);
      }
    },
  }).withTypeProvider<ZodTypeProvider>() as Api;

  fastify.server.maxConnections = options.maxConnections ?? 10_000;
  fastify.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler);
  fastify.setErrorHandler(sendError);
  fastify.decorateRequest('facts', undefined as unknown as RequestFacts);
  fastify.removeAllContentTypeParsers();
  fastify.addContentTypeParser('*', createBodyReader(deps.payloadLimit, deps.buffers.requests));
  // An event may come with any method; a GET with a body is rare, but clear in what it means.
  fastify.addHttpMethod('GET', { hasBody: true, overrideExisting: true });

  fastify.addHook('onRequest', (request, reply, done) => {
    track(request, reply);
    const { config } = request.facts;
    if (draining) {
      reply.header('connection', 'close');
      if (!config.whileDraining) {
        throw new WorkerFrontError('shutting_down', 'this node is shutting down; try another one, or later');
      }
    }
    if (!config.open) request.facts.caller = access(request, reply, request.is404 ? ANY_TOKEN : needsOf(config));
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

  await describeRoutes(fastify);
  answerUnknownRoutes(fastify);
  addRoutes(fastify, { ...deps, isDraining: () => draining, audited: createAudited(deps.audit) });

  let closing: Promise<void> | undefined;
  const close = () => (closing ??= closeApp(fastify));
  return {
    fastify,
    async listen(port) {
      await fastify.listen({ host: options.host, port });
      const address = fastify.server.address();
      return { host: options.host, port: typeof address === 'object' && address !== null ? address.port : port };
    },
    drain() {
      draining = true;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
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
