package workerfront;

import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import java.io.File;
import java.io.IOException;

/** The Java runtime of a sandbox; docs/protocol.md ("On the link") has what it does. Init starts it with the link as descriptor 3. */
public final class Bootstrap {
  static final int BROKEN = 70;

  private final Link link;
  private Invoker invoker;

  Bootstrap(Link link) {
    this.link = link;
  }

  public static void main(String[] arguments) {
    try {
      Link link = new Link(Descriptor.input(3), Descriptor.output(3));
      link.send(Link.header("hello", "environment", "java17"));
      Json.warmUp();
      new Bootstrap(link).serve();
    } catch (IOException closed) {
      // The link's end is the way init ends a runtime.
    } catch (ReflectiveOperationException | RuntimeException | Error broken) {
      System.err.println("worker-front: " + broken);
      Runtime.getRuntime().halt(BROKEN);
    }
    Runtime.getRuntime().halt(0);
  }

  void serve() throws IOException {
    WarmUp warmUp = WarmUp.begin();
    for (Link.Frame frame = link.read(); frame != null; frame = link.read()) {
      warmUp.end();
      String type = frame.header().get("type").getAsString();
      switch (type) {
        case "load" -> {
          load(frame.header());
          warmUp = WarmUp.begin();
        }
        case "start" -> invoker.start(frame);
        case "stop" -> Runtime.getRuntime().halt(0);
        default -> throw new IllegalStateException("a frame of unknown type " + type);
      }
    }
  }

  private void load(JsonObject load) throws IOException {
    JsonObject answer;
    try {
      // Before the function's own variables: they must not be able to move it.
      String folder = System.getenv("WORKER_FRONT_FUNCTION_DIR");
      Environment.apply(load.getAsJsonObject("env"));
      ClassLoader loader = FunctionClasses.loader(new File(folder == null ? "/function" : folder));
      Thread.currentThread().setContextClassLoader(loader);
      invoker = new Invoker(link, load);
      invoker.use(Handler.find(loader, load.get("handler")));
      answer = Link.header("ready");
    } catch (Throwable thrown) {
      answer = Failure.of(thrown);
      answer.add("id", JsonNull.INSTANCE);
    }
    System.out.flush();
    System.err.flush();
    link.send(answer);
  }
}
