'use strict';
// Frames over the link: u32le header length, u32le body length, header (JSON), body. See docs/protocol.md, "Frames".

const fs = require('node:fs');
const net = require('node:net');

const HEADER_LIMIT = 1024 * 1024;
const BODY_LIMIT = 64 * 1024 * 1024;
const PREFIX = 8;
/** Bodies up to this size are copied so that their frame is one write. */
const COPIED_BODY = 64 * 1024;
const NOTHING = Buffer.alloc(0);
const { parse, stringify } = JSON;

/** Reads frames from a connected socket's descriptor; `on.end` when it is closed, `on.broken` when it sends what is no frame. */
exports.createLink = (fd, on) => {
  const socket = new net.Socket({ fd, readable: true, writable: true });
  const take = frameReader(on);
  socket.on('data', take);
  socket.on('end', on.end);
  socket.on('error', on.end);

  return {
    /** Writes a frame at once and whole, so that it is on its way even if the handler's process exits right after it. */
    send(header, body = NOTHING) {
      const head = Buffer.from(stringify(header));
      const prefix = Buffer.alloc(PREFIX);
      prefix.writeUInt32LE(head.length, 0);
      prefix.writeUInt32LE(body.length, 4);
      try {
        if (body.length <= COPIED_BODY) return writeAll(fd, Buffer.concat([prefix, head, body]));
        writeAll(fd, Buffer.concat([prefix, head]));
        writeAll(fd, body);
      } catch {
        on.end();
      }
    },
    /** Whether waiting for frames keeps the process alive. */
    hold: () => socket.ref(),
    release: () => socket.unref(),
  };
};

function frameReader(on) {
  let chunks = [];
  let available = 0;
  let wanted = PREFIX;
  return (chunk) => {
    chunks.push(chunk);
    available += chunk.length;
    if (available < wanted) return;
    let data = chunks.length === 1 ? chunk : Buffer.concat(chunks, available);
    wanted = PREFIX;
    while (data.length >= PREFIX) {
      const headerLength = data.readUInt32LE(0);
      const bodyLength = data.readUInt32LE(4);
      if (headerLength > HEADER_LIMIT || bodyLength > BODY_LIMIT) return on.broken('a frame over the limit');
      const bodyStart = PREFIX + headerLength;
      wanted = bodyStart + bodyLength;
      if (data.length < wanted) break;
      const frame = data;
      data = data.subarray(wanted);
      on.frame(parse(frame.toString('utf8', PREFIX, bodyStart)), frame.subarray(bodyStart, wanted));
      wanted = PREFIX;
    }
    chunks = data.length > 0 ? [data] : [];
    available = data.length;
  };
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** The socket does not block (net.Socket sees to that), so a long result waits here for init to read. */
function writeAll(fd, data) {
  let written = 0;
  while (written < data.length) {
    try {
      written += fs.writeSync(fd, data, written);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(pause, 0, 0, 0.1);
    }
  }
}
