// Answers with the event and with what the context tells about the call.
exports.handle = (event, context) => ({
  statusCode: 200,
  body: JSON.stringify({
    event,
    functionName: context.functionName,
    functionVersion: context.functionVersion,
    invocationId: context.awsRequestId,
    memoryLimitInMB: context.memoryLimitInMB,
    remainingTimeInMillis: Math.round(context.getRemainingTimeInMillis()),
  }),
});
