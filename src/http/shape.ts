import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { WorkerFrontError } from '../lib/errors.ts';

/**
 * Throws `invalid_request` for requests of a shape that is not to be trusted, and closes their connection: what has come
 * behind such a request on the same connection is refused as well, as nobody knows what it is.
 */
export function createShapeCheck() {
  const refused = new WeakSet<Socket>();
  return ({ raw }: FastifyRequest, reply: FastifyReply): void => {
    const problem = refused.has(raw.socket) ? 'it came behind a request that was refused' : problemOfShape(raw);
    if (problem === undefined) return;
    refused.add(raw.socket);
    reply.header('connection', 'close');
    throw new WorkerFrontError('invalid_request', problem);
  };
}

/**
 * Why a request is refused though Node.js takes it: shapes that a proxy in front may read in another way, so that both
 * disagree on where it ends or which host it is for (request smuggling; RFC 9112, 3.2 and 11.2). What else is ambiguous
 * (two lengths, length and chunks, folded headers, bare line ends, ...) Node's strict parser refuses itself.
 * undefined: it is proper.
 */
function problemOfShape(raw: IncomingMessage): string | undefined {
  const { httpVersionMajor, httpVersionMinor, rawHeaders } = raw;
  if (httpVersionMajor !== 1 || httpVersionMinor > 1) return 'this is not a valid HTTP/1.1 request';
  const coding = raw.headers['transfer-encoding'];
  if (coding !== undefined && (httpVersionMinor === 0 || coding.toLowerCase() !== 'chunked')) {
    return "the only transfer coding is 'chunked', and not in HTTP/1.0";
  }
  let hosts = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') hosts++;
  }
  if (hosts > 1) return 'the request has more than one Host header';
  if (hosts === 0 && httpVersionMinor === 1) return 'the request has no Host header';
  return undefined;
}
