package workerfront;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import lalb.Context;
import lalb.Response;

/**
 * Lets the runtime load the classes that it and a usual handler need, while the JVM notes them for the archive (build.sh).
 * Not in the jar that sandboxes run.
 */
public final class Training {
  private Training() {}

  public static void main(String[] arguments) throws Exception {
    Descriptor.input(0);
    Descriptor.output(1);
    ByteArrayOutputStream frames = new ByteArrayOutputStream();
    frame(frames, "{\"type\":\"load\",\"function\":\"f\",\"version\":\"v\",\"handler\":\"workerfront.Training.handle\","
        + "\"concurrency\":1,\"memoryBytes\":268435456,\"resultLimit\":1000,\"env\":{\"TRAINING\":\"1\"}}", "");
    for (String event : List.of("{\"a\":[1,2.5,\"x\",null,true]}", "{\"fail\":1}", "{")) {
      frame(frames, "{\"type\":\"start\",\"id\":\"i\",\"deadlineMs\":1000}", event);
    }
    Json.warmUp();
    WarmUp.begin().join();
    new Bootstrap(new Link(new ByteArrayInputStream(frames.toByteArray()), OutputStream.nullOutputStream())).serve();
  }

  public static Object handle(Map<String, Object> event, Context context) {
    if (event.containsKey("fail")) {
      throw new IllegalStateException("on purpose");
    }
    String keys = event.keySet().stream().map(key -> key + "=" + event.get(key)).collect(Collectors.joining(","));
    System.out.println(String.format("%s %d", keys, context.getRemainingTimeInMillis()));
    return List.of(new Response(200, keys), Map.of("n", 1), context.getAwsRequestId());
  }

  private static void frame(OutputStream out, String header, String body) throws Exception {
    byte[] head = header.getBytes(StandardCharsets.UTF_8);
    byte[] rest = body.getBytes(StandardCharsets.UTF_8);
    ByteBuffer prefix = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putInt(head.length).putInt(rest.length);
    out.write(prefix.array());
    out.write(head);
    out.write(rest);
  }
}
