import { type ServerResponse, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { WorkerFrontError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { errorReply } from './error-reply.ts';

export interface ClientErrorDeps {
  logger: Logger;
  newId: () => string;
  /** Connections whose request was answered before it had arrived whole: what breaks now is the rest of it. */
  answeredEarly: WeakSet<Socket>;
}

/**
 * Answers what is no HTTP (garbage, headers over the limit, a request that never ends) on the bare socket, in the one
 * error shape. Such replies keep the status that HTTP itself has for the case, which proxies act on.
 */
export function createClientErrorHandler(deps: ClientErrorDeps) {
  return (error: Error & { code?: string }, socket: Socket): void => {
    if (
      error.code === 'ECONNRESET' ||
      isOfTls(error.code) ||
      !socket.writable ||
      isReplying(socket) ||
      deps.answeredEarly.has(socket)
    ) {
      socket.destroy();
      return;
    }
    const { status, message } = problemOf(error.code);
    const id = deps.newId();
    const { headers, body } = errorReply(new WorkerFrontError('invalid_request', message), id);
    deps.logger.info({ id, status, code: 'invalid_request', problem: error.code }, 'broken request');
    const lines = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      `content-length: ${Buffer.byteLength(body)}`,
      'connection: close',
    ];
    socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
  };
}

/** Before a handshake is done there is nothing to answer on. */
function isOfTls(code: string | undefined): boolean {
  return code !== undefined && /^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code);
}

function problemOf(code: string | undefined): { status: number; message: string } {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return { status: 408, message: 'the request did not arrive in time' };
    case 'HPE_HEADER_OVERFLOW':
      return { status: 431, message: 'the request line and headers are over the limit of 16 KiB' };
    case undefined:
    default:
      return { status: 400, message: 'this is not a valid HTTP/1.1 request' };
  }
}

/**
 * Whether an answer to the broken bytes would be taken for the answer to something else: the head of a reply is out,
 * or the bytes came behind a complete request that is still being served.
 */
function isReplying(socket: Socket): boolean {
  const reply = (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage;
  return reply !== null && reply !== undefined && (reply.headersSent || reply.req.complete);
}
