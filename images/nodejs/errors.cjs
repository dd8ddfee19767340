'use strict';
// What a `failed` frame says about something that was thrown.

const MESSAGE_LENGTH = 16_384;
const TYPE_LENGTH = 256;
const TRACE_LENGTH = 64;
const LINE_LENGTH = 2_048;

/** A thrown value as `kind`, `errorType`, `message` and `trace`. Never throws, whatever the value's getters do. */
exports.describeError = (error) => {
  try {
    return isError(error) ? describe(error) : describeValue(error);
  } catch {
    return { kind: 'error', errorType: 'Error', message: 'an error that cannot be described was thrown', trace: [] };
  }
};

function describe(error) {
  const message = text(withoutOurRequires(String(error.message).split('\n')).join('\n'), MESSAGE_LENGTH);
  const exhausted = error instanceof RangeError && message === 'Array buffer allocation failed';
  return { kind: exhausted ? 'memory' : 'error', errorType: typeOf(error), message, trace: traceOf(error) };
}

function describeValue(value) {
  const errorType = value === null ? 'null' : typeof value;
  const shown = typeof value === 'string' ? value : require('node:util').inspect(value, { depth: 2 });
  return { kind: 'error', errorType, message: text(shown, MESSAGE_LENGTH), trace: [] };
}

function isError(value) {
  // Errors of another realm (node:vm) are no instances of this one's Error.
  return value instanceof Error || require('node:util').types.isNativeError(value);
}

function typeOf(error) {
  const { name } = error;
  const own = error.constructor?.name;
  return text(name && name !== 'Error' ? name : own || 'Error', TYPE_LENGTH);
}

function traceOf(error) {
  const lines = [];
  const seen = new Set();
  for (let next = error, prefix = ''; isError(next) && !seen.has(next); next = next.cause, prefix = 'Caused by: ') {
    seen.add(next);
    const own = ownLines(String(next.stack ?? next));
    own[0] = prefix + own[0];
    lines.push(...own);
  }
  return lines.slice(0, TRACE_LENGTH).map((line) => text(line, LINE_LENGTH));
}

/** The lines of a stack down to the first frame of this runtime, without Node.js's own below the last of the function. */
function ownLines(stack) {
  const lines = withoutOurRequires(stack.split('\n'));
  const isFrame = (line) => line.startsWith('    at ');
  const end = lines.findIndex((line) => isFrame(line) && line.includes(`${__dirname}/`));
  const own = end === -1 ? lines : lines.slice(0, end);
  while (own.length > 1 && isFrame(own.at(-1)) && own.at(-1).includes('node:internal/')) own.pop();
  return own;
}

/** Drops this runtime's files from the "Require stack" of a module that was not found. */
function withoutOurRequires(lines) {
  return lines.filter((line) => !line.startsWith(`- ${__dirname}/`));
}

function text(value, length) {
  return String(value).slice(0, length).toWellFormed();
}
