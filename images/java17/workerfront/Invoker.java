package workerfront;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.List;

/** Runs invocations: one at a time in the main thread, or several in a thread each. */
final class Invoker {
  private final Link link;
  private final JsonObject load;
  private final int resultLimit;
  private final TiedOutput tied;
  private Handler handler;

  Invoker(Link link, JsonObject load) {
    this.link = link;
    this.load = load;
    this.resultLimit = load.get("resultLimit").getAsInt();
    this.tied = load.get("concurrency").getAsInt() > 1 ? TiedOutput.install(link) : null;
  }

  void use(Handler handler) {
    this.handler = handler;
  }

  void start(Link.Frame frame) throws IOException {
    InvocationContext context = new InvocationContext(load, frame.header());
    if (tied == null) {
      run(context, frame.body());
      return;
    }
    ClassLoader loader = Thread.currentThread().getContextClassLoader();
    Thread thread = new Thread(() -> {
      tied.enter(context.getAwsRequestId());
      try {
        run(context, frame.body());
      } catch (IOException closed) {
        Runtime.getRuntime().halt(0);
      } catch (Error exhausted) {
        System.err.println("worker-front: " + exhausted);
        Runtime.getRuntime().halt(Bootstrap.BROKEN);
      }
    }, "invocation-" + context.getAwsRequestId());
    thread.setContextClassLoader(loader);
    thread.start();
  }

  private void run(InvocationContext context, byte[] body) throws IOException {
    JsonBuffer result = new JsonBuffer(resultLimit);
    JsonObject answer = answer(context, body, result);
    System.out.flush();
    System.err.flush();
    answer.addProperty("id", context.getAwsRequestId());
    if (tied != null) {
      tied.leave(context.getAwsRequestId());
    }
    boolean done = answer.get("type").getAsString().equals("done");
    link.send(answer, result.bytes(), 0, done ? (int) result.size() : 0);
  }

  private JsonObject answer(InvocationContext context, byte[] body, JsonBuffer result) {
    long started = System.nanoTime();
    JsonObject answer;
    try {
      Object[] arguments = handler.arguments(JsonCheck.text(body), context);
      started = System.nanoTime();
      Object value = handler.call(arguments);
      long ended = System.nanoTime();
      return timed(write(value, result), started, ended);
    } catch (JsonCheck.Invalid invalid) {
      answer = Failure.frame("invalid_event", "InvalidEvent", invalid.getMessage(), List.of());
    } catch (Throwable thrown) {
      answer = Failure.of(thrown);
    }
    return timed(answer, started, System.nanoTime());
  }

  private static JsonObject timed(JsonObject answer, long started, long ended) {
    answer.addProperty("durationMs", (ended - started) / 1e6);
    return answer;
  }

  private JsonObject write(Object value, JsonBuffer result) {
    try {
      Json.write(value, result);
    } catch (StackOverflowError endless) {
      return invalid("the result contains itself, or is nested too deep");
    } catch (RuntimeException refused) {
      return invalid("the result cannot be written as JSON: " + refused);
    }
    if (result.isOver()) {
      String message = "the result has " + result.size() + " bytes; the limit is " + resultLimit;
      return Failure.frame("too_large", "ResultTooLarge", message, List.of());
    }
    return Link.header("done");
  }

  private static JsonObject invalid(String message) {
    return Failure.frame("invalid_result", "InvalidResult", message, List.of());
  }
}
