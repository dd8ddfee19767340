package workerfront;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.invoke.StringConcatFactory;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import lalb.Context;
import lalb.Response;

/**
 * Uses the time of waiting for a function or a call: runs an invocation that goes nowhere, so that the first real one finds
 * the classes initialised (first call 8 ms, afterwards 2). A sandbox that is used at once is left alone.
 */
final class WarmUp extends Thread {
  private static final long PATIENCE_MS = 30;
  private static final String LOAD =
      "{\"function\":\"\",\"version\":\"\",\"concurrency\":1,\"memoryBytes\":0,\"resultLimit\":1000,"
          + "\"handler\":\"workerfront.WarmUp.handle\"}";

  private volatile boolean idle = true;

  private WarmUp() {
    super("warm-up");
    setDaemon(true);
  }

  static WarmUp begin() {
    WarmUp warmUp = new WarmUp();
    warmUp.start();
    return warmUp;
  }

  /** Work has come; what is under way ends with its present step. */
  void end() {
    idle = false;
  }

  @Override
  public void run() {
    try {
      TimeUnit.MILLISECONDS.sleep(PATIENCE_MS);
      JsonObject load = JsonParser.parseString(LOAD).getAsJsonObject();
      Invoker invoker = new Invoker(new Link(InputStream.nullInputStream(), OutputStream.nullOutputStream()), load);
      invoker.use(Handler.find(WarmUp.class.getClassLoader(), load.get("handler")));
      JsonObject start = JsonParser.parseString("{\"id\":\"\",\"deadlineMs\":1}").getAsJsonObject();
      for (int round = 0; round < 5 && idle; round++) {
        byte[] event = ("{\"step\":" + round + "}").getBytes(StandardCharsets.UTF_8);
        invoker.start(new Link.Frame(start, event));
      }
    } catch (Throwable unimportant) {
      // The first call will be slower, or show what is wrong.
    }
  }

  static Object handle(Map<String, Object> event, Context context) throws Throwable {
    switch (((Number) event.get("step")).intValue()) {
      case 1:
        return new Response(200, String.format("%s %d", context.getAwsRequestId(), context.getRemainingTimeInMillis()));
      case 2:
        return join(String.class) + join(Object.class) + join(int.class);
      case 3:
        return List.of(1, 2).stream().map(number -> number + 1).filter(number -> number > 1).collect(Collectors.toList());
      default:
        return event;
    }
  }

  /** What the compiler makes of `"a" + value`, which is slow the first time. */
  private static String join(Class<?> type) throws Throwable {
    MethodType shape = MethodType.methodType(String.class, type);
    Object value = type == int.class ? (Object) 1 : "";
    return (String) StringConcatFactory.makeConcatWithConstants(MethodHandles.lookup(), "join", shape, "a\1")
        .getTarget().invokeWithArguments(value);
  }
}
