'use strict';

/**
 * Makes stdout and stderr write at once. Node.js writes to pipes without blocking and keeps the rest in memory: output over
 * 64 KiB would come after the result, and be lost when the handler exits. It would also leave the pipe non-blocking for
 * child processes, most of which don't expect that.
 */
exports.blockingOutput = () => {
  for (const stream of [process.stdout, process.stderr]) stream._handle?.setBlocking?.(true);
};

/** Sends what an invocation writes to stdout or stderr as `log` frames with its id; `currentId` is null outside of one. */
exports.tieOutput = (currentId, link) => {
  for (const stream of ['stdout', 'stderr']) {
    const write = process[stream].write;
    process[stream].write = function (chunk, encoding, callback) {
      const id = currentId();
      if (id === null) return write.apply(this, arguments);
      sendLog(link, id, stream, toBuffer(chunk, encoding));
      const done = typeof encoding === 'function' ? encoding : callback;
      if (typeof done === 'function') process.nextTick(done);
      return true;
    };
  }
};

const LOG_BYTES = 1024 * 1024;

function sendLog(link, id, stream, bytes) {
  for (let at = 0; at < bytes.length; at += LOG_BYTES) {
    link.send({ type: 'log', id, stream }, bytes.subarray(at, at + LOG_BYTES));
  }
}

function toBuffer(chunk, encoding) {
  if (typeof chunk === 'string') return Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8');
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  throw new TypeError('The "chunk" argument must be of type string or an instance of Buffer or Uint8Array.');
}
