package main;

import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import lalb.Response;

/** Does what the event's `do` says: every way in which a handler can go wrong while it runs. */
public class Main {
  private static final int MIB = 1 << 20;
  private static final List<Object> KEPT = new ArrayList<>();

  public static Object lambda_handler(Map<String, Object> event) throws Exception {
    switch ((String) event.get("do")) {
      case "throw":
        throw new IllegalStateException("thrown on purpose");
      case "throw-error":
        throw new AssertionError("an error, not an exception");
      case "value":
        return event.get("value");
      case "exit":
        System.exit(3);
        return null;
      case "die":
        new ProcessBuilder("sh", "-c", "kill -9 " + ProcessHandle.current().pid()).start().waitFor();
        Thread.sleep(10_000);
        return null;
      case "eat":
      case "eat-heap":
        return eat();
      case "eat-in-child":
        return Map.of("childCode", run("head -c 1000000000 /dev/zero | tail -n 1 | wc -c"));
      case "fill-tmp":
        return fillTmp();
      case "fill-tmp-and-eat":
        fillTmp();
        return eat();
      case "answer-much":
        return "x".repeat(7 * MIB);
      case "print-much":
        for (int line = 0; line < 1024; line++) {
          System.out.println("o".repeat(1023));
          System.err.println("e".repeat(1023));
        }
        return new Response(200, "printed");
      case "no-number":
        return Double.NaN;
      case "write-code":
        try {
          Files.writeString(Path.of("written"), "x");
          return null;
        } catch (IOException error) {
          return error.getClass().getSimpleName();
        }
      case "leave-child":
        new ProcessBuilder("sleep", "1000").start();
        return "left";
      case "recurse":
        return recurse(0);
      default:
        throw new IllegalArgumentException("no such action");
    }
  }

  private static Object eat() {
    while (true) {
      KEPT.add(new byte[8 * MIB]);
    }
  }

  private static Map<String, Object> fillTmp() throws IOException {
    byte[] piece = new byte[MIB];
    long written = 0;
    String failure = null;
    try (FileOutputStream file = new FileOutputStream("/tmp/filled")) {
      while (written < 1024L * MIB) {
        file.write(piece);
        written += MIB;
      }
    } catch (IOException error) {
      failure = error.getMessage();
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("written", written);
    result.put("error", failure);
    return result;
  }

  private static int run(String command) throws Exception {
    return new ProcessBuilder("sh", "-c", command).inheritIO().start().waitFor();
  }

  private static int recurse(int depth) {
    return recurse(depth + 1) + 1;
  }
}
