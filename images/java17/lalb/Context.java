package lalb;

/** What a handler may know about its invocation, with AWS Lambda's names. */
public interface Context {
  String getAwsRequestId();

  String getFunctionName();

  String getFunctionVersion();

  String getInvokedFunctionArn();

  /** In MiB. */
  int getMemoryLimitInMB();

  /** Milliseconds until the invocation is ended; never negative. */
  int getRemainingTimeInMillis();

  String getLogGroupName();

  String getLogStreamName();

  Logger getLogger();
}
