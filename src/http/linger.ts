import type { FastifyReply, FastifyRequest } from 'fastify';

/** Milliseconds a refused body may go on arriving. */
const LINGER = 30_000;

/**
 * Lets a client that is still sending read the reply: closing at once would make its kernel throw the reply away
 * (a reset overtakes unread data). Node drops what still comes; a client that never stops is cut off.
 */
export function lingerAfter(request: FastifyRequest, reply: FastifyReply): void {
  reply.removeHeader('connection');
  const { raw } = request;
  reply.raw.once('finish', () => {
    if (raw.complete) return;
    const cut = setTimeout(() => raw.socket.destroy(), LINGER).unref();
    raw.once('close', () => clearTimeout(cut));
  });
}
