'use strict';
// One call of the handler, from event bytes to result bytes.

const { isUtf8 } = require('node:buffer');
const { createContext } = require('./context.cjs');
const { describeError } = require('./errors.cjs');
const { parse, stringify } = JSON;

/**
 * Calls the handler and answers with exactly one `finish(frame, body)`. Sets `invocation.fail(error)`, which ends the
 * invocation with an error from outside of it.
 */
exports.runInvocation = ({ invocation, header, body, handler, settings, link, finish }) => {
  let event;
  try {
    event = parseEvent(body);
  } catch (error) {
    return finish({ type: 'failed', kind: 'invalid_event', errorType: error.name, message: error.message, trace: [] });
  }

  let settled = false;
  let started = 0;
  const end = (answer) => {
    if (settled) return;
    settled = true;
    if (drained) stopWaiting();
    answer(performance.now() - started);
  };
  const fail = (error) => end((durationMs) => finish({ type: 'failed', ...describeError(error), durationMs }));
  const succeed = (result) =>
    end((durationMs) => {
      const { frame, bytes } = writeResult(result, settings.resultLimit);
      finish({ ...frame, durationMs }, bytes);
    });
  const settle = (error, result) => (error === null || error === undefined ? succeed(result) : fail(error));

  // Callback style waits, as AWS Lambda does, until nothing is left to do: waiting for frames must not keep the
  // process alive meanwhile. With several invocations at once that moment says nothing about one of them.
  let drained = null;
  const waitUntilEmpty = (then) => {
    stopWaiting();
    drained = then;
    process.once('beforeExit', drained);
    link.release();
  };
  const stopWaiting = () => {
    if (!drained) return;
    process.off('beforeExit', drained);
    drained = null;
    link.hold();
  };
  let called = false;
  const callback = (error, result) => {
    if (settled || called) return;
    called = true;
    if (error === null || error === undefined) {
      if (context.callbackWaitsForEmptyEventLoop && !(settings.concurrency > 1)) waitUntilEmpty(() => succeed(result));
      else succeed(result);
    } else fail(error);
  };

  invocation.fail = fail;
  const context = createContext(header, settings, settle);
  const usesCallback = handler.length >= 3;
  started = performance.now();
  try {
    const result = handler(event, context, callback);
    if (typeof result?.then === 'function') result.then(succeed, fail);
    else if (!usesCallback) succeed(result);
    else if (!settled && !called && !(settings.concurrency > 1)) waitUntilEmpty(() => succeed(null));
  } catch (error) {
    fail(error);
  }
};

function parseEvent(body) {
  if (!isUtf8(body)) throw new SyntaxError('the event is not UTF-8');
  return parse(body.toString('utf8'));
}

/** A result as the frame to send and its bytes. */
function writeResult(result, limit) {
  let json;
  try {
    json = stringify(result === undefined ? null : result);
  } catch (error) {
    return { frame: invalid('invalid_result', cannotWrite(error)) };
  }
  if (json === undefined) return { frame: invalid('invalid_result', `a ${typeof result} cannot be written as JSON`) };
  const bytes = Buffer.from(json);
  if (bytes.length > limit) {
    return { frame: invalid('too_large', `the result has ${bytes.length} bytes; the limit is ${limit}`) };
  }
  return { frame: { type: 'done' }, bytes };
}

function cannotWrite(error) {
  const { errorType, message } = describeError(error);
  return `the result cannot be written as JSON: ${errorType}: ${message}`.slice(0, 16_384);
}

function invalid(kind, message) {
  return {
    type: 'failed',
    kind,
    errorType: kind === 'too_large' ? 'ResultTooLarge' : 'InvalidResult',
    message,
    trace: [],
  };
}
