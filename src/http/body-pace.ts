import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

export interface BodyPaceOptions {
  /** Milliseconds after which a body must have brought something again. */
  windowMs: number;
  /** Bytes that it must bring in each window. */
  minBytes: number;
  /** Called with the connection of a request whose body drips. */
  onSlow: (socket: Socket) => void;
}

/** Watches bodies while they arrive. */
export interface BodyPace {
  watch(request: IncomingMessage): void;
  /** The body is there, or is not wanted any more. Need not be said: it is noticed at the next look. */
  done(request: IncomingMessage): void;
  close(): void;
}

interface Mark {
  bytes: number;
  at: number;
}

/**
 * Ends requests whose body drips: some bytes now and then keep a connection, and what waits for the body, for as long as
 * a whole request may take, which is long because uploads are large. (Apache's `RequestReadTimeout` has the same rule.)
 * One timer for all bodies, so that a call whose body is there at once costs an entry in a set.
 */
export function createBodyPace({ windowMs, minBytes, onSlow }: BodyPaceOptions): BodyPace {
  const arriving = new Map<IncomingMessage, Mark | undefined>();
  const look = () => {
    const now = performance.now();
    for (const [request, mark] of arriving) {
      const { socket } = request;
      if (request.complete || socket.destroyed) {
        arriving.delete(request);
      } else if (mark === undefined || request.readableLength > 0 || socket.bytesRead - mark.bytes >= minBytes) {
        // Bytes that nobody has taken yet: it is this side that is slow.
        arriving.set(request, { bytes: socket.bytesRead, at: now });
      } else if (now - mark.at >= windowMs) {
        arriving.delete(request);
        onSlow(socket);
      }
    }
  };
  const timer = setInterval(look, windowMs / 4).unref();
  return {
    watch(request) {
      arriving.set(request, undefined);
    },
    done: (request) => void arriving.delete(request),
    close: () => clearInterval(timer),
  };
}
