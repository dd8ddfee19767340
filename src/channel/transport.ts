import type { Socket } from 'node:net';
import { systemCode } from '../lib/errors.ts';

/**
 * A connected stream of bytes to one sandbox. Today a Unix socket; a TCP transport (remote engines) can follow.
 *
 * Contract: `onData` gets bytes in order and never after `onClosed`; `onClosed` comes exactly once, with the cause when
 * there was one. Both are set before the next turn of the event loop after the transport was handed out.
 */
export interface Transport {
  onData: (chunk: Buffer) => void;
  onClosed: (cause: Error | undefined) => void;
  /**
   * Writes the buffers one after the other, in one system call where possible; nothing after the end. `onFailed` is
   * called, before `onClosed`, when it is certain that not all of them were taken: the other side cannot have them whole.
   */
  write(buffers: readonly Uint8Array[], onFailed?: () => void): void;
  /** No more `onData` until `resume`: the other side has to wait. */
  pause(): void;
  resume(): void;
  /** Ends the connection at once; unsent bytes are lost. Idempotent. */
  destroy(): void;
}

const nothing = () => undefined;

export function socketTransport(socket: Socket): Transport {
  /** Of the last write. */
  let lastFailed: (() => void) | undefined;
  const transport: Transport = {
    onData: nothing,
    onClosed: nothing,
    write(buffers, onFailed) {
      lastFailed = onFailed;
      if (!socket.writable) {
        onFailed?.();
        return;
      }
      const last = buffers[buffers.length - 1] as Uint8Array;
      const written = onFailed && ((error: Error | null | undefined) => error && onFailed());
      // The common case: corked, a single buffer would take the way of many.
      if (buffers.length === 1) {
        socket.write(last, written);
        return;
      }
      socket.cork();
      for (const buffer of buffers) socket.write(buffer, buffer === last ? written : undefined);
      socket.uncork();
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    destroy: () => void socket.destroy(),
  };
  let cause: Error | undefined;
  socket.on('data', (chunk: Buffer) => transport.onData(chunk));
  socket.on('error', (error) => {
    cause = error;
  });
  socket.on('close', () => {
    // A Unix socket says this, and not just the end, when the other side had not read everything: the last write is not whole there.
    if (systemCode(cause) === 'ECONNRESET') lastFailed?.();
    transport.onClosed(cause);
  });
  return transport;
}
