'use strict';

/**
 * The handler's second argument, with AWS Lambda's names.
 * `settle` ends the invocation: `settle(error)` or `settle(null, result)`.
 */
exports.createContext = (start, settings, settle) => {
  const deadline = performance.now() + start.deadlineMs;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: settings.function,
    functionVersion: settings.version,
    memoryLimitInMB: String(Math.floor(settings.memoryBytes / 1024 / 1024)),
    invokedFunctionArn: `arn:aws:lambda:local:000000000000:function:${settings.function}`,
    logGroupName: `/aws/lambda/${settings.function}`,
    logStreamName: settings.version,
    awsRequestId: start.id,
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(deadline - performance.now())),
    done: (error, result) => settle(error, result),
    succeed: (result) => settle(null, result),
    fail: (error) => settle(error ?? new Error('handler failed')),
  };
};
