package workerfront;

import com.google.gson.JsonObject;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import lalb.Context;
import lalb.Logger;

/** The context of one invocation. */
public final class InvocationContext implements Context, Logger {
  private final JsonObject load;
  private final String id;
  private final long deadline;

  InvocationContext(JsonObject load, JsonObject start) {
    this.load = load;
    this.id = start.get("id").getAsString();
    this.deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(start.get("deadlineMs").getAsLong());
  }

  /** This context as the parameter type of a handler: ours, a map, or an interface of the same method names (AWS Lambda's own). */
  Object as(Class<?> type) {
    if (type.isInstance(this)) {
      return this;
    }
    return type.isAssignableFrom(LinkedHashMap.class) ? asMap() : standIn(this, type);
  }

  private Map<String, Object> asMap() {
    Map<String, Object> map = new LinkedHashMap<>();
    map.put("awsRequestId", getAwsRequestId());
    map.put("functionName", getFunctionName());
    map.put("functionVersion", getFunctionVersion());
    map.put("invokedFunctionArn", getInvokedFunctionArn());
    map.put("memoryLimitInMB", getMemoryLimitInMB());
    map.put("remainingTimeInMillis", getRemainingTimeInMillis());
    map.put("logGroupName", getLogGroupName());
    map.put("logStreamName", getLogStreamName());
    return map;
  }

  /** An object of the interface that hands calls on by name; what this context does not have is null. */
  private static Object standIn(InvocationContext target, Class<?> type) {
    return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, arguments) -> {
      if (method.getReturnType().isInterface() && method.getName().equals("getLogger")) {
        return standIn(target, method.getReturnType());
      }
      try {
        Method own = InvocationContext.class.getMethod(method.getName(), method.getParameterTypes());
        return own.invoke(target, arguments);
      } catch (NoSuchMethodException missing) {
        return null;
      } catch (InvocationTargetException thrown) {
        throw thrown.getCause();
      }
    });
  }

  @Override
  public String getAwsRequestId() {
    return id;
  }

  @Override
  public String getFunctionName() {
    return load.get("function").getAsString();
  }

  @Override
  public String getFunctionVersion() {
    return load.get("version").getAsString();
  }

  @Override
  public String getInvokedFunctionArn() {
    return "arn:aws:lambda:local:000000000000:function:" + getFunctionName();
  }

  @Override
  public int getMemoryLimitInMB() {
    return (int) (load.get("memoryBytes").getAsLong() >> 20);
  }

  @Override
  public int getRemainingTimeInMillis() {
    return (int) Math.max(0, TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime()));
  }

  @Override
  public String getLogGroupName() {
    return "/aws/lambda/" + getFunctionName();
  }

  @Override
  public String getLogStreamName() {
    return getFunctionVersion();
  }

  @Override
  public Logger getLogger() {
    return this;
  }

  @Override
  public void log(String message) {
    System.out.println(message);
  }

  @Override
  public void log(byte[] message) {
    System.out.write(message, 0, message.length);
    System.out.flush();
  }
}
