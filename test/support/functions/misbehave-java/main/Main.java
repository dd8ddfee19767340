package main;

import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import lalb.Response;
import sun.misc.Unsafe;

/** Does what the event's `do` says: every way in which a handler can go wrong while it runs. */
public class Main {
  private static final int MIB = 1 << 20;
  private static final List<Object> KEPT = new ArrayList<>();

  public static Object lambda_handler(Map<String, Object> event) throws Exception {
    return act((String) event.get("do"), event);
  }

  private static Object act(String action, Map<String, Object> event) throws Exception {
    switch (action) {
      case "throw":
        throw new IllegalStateException("thrown on purpose");
      case "throw-error":
        throw new AssertionError("an error, not an exception");
      case "value":
        return event.get("value");
      case "exit":
        System.exit(((Number) event.getOrDefault("code", 3.0)).intValue());
        return null;
      case "die":
        return signal("KILL");
      case "segfault":
        return signal("SEGV");
      case "hang":
        while (true) {
          Thread.sleep(1000);
        }
      case "tell":
        return tell(event);
      case "show":
        System.out.println(event.get("text"));
        return "shown";
      case "eat":
      case "eat-heap":
        return eat();
      case "eat-native":
        return grow(Integer.MAX_VALUE);
      case "grow":
        if (Boolean.TRUE.equals(event.get("tmp"))) {
          fillTmp();
        }
        return grow(((Number) event.get("mib")).intValue());
      case "eat-in-child":
        return eatInChild();
      case "eat-in-child-and-throw":
        throw new IllegalStateException("the child ended with " + eatInChild());
      case "eat-in-child-and-exit":
        eatInChild();
        System.exit(4);
        return null;
      case "leave-eater":
        // Grows without end when the call has ended.
        new ProcessBuilder("sh", "-c", "sleep 1; head -c 1000000000 /dev/zero | tail -n 1 > /dev/null").start();
        return "left";
      case "overfill-tmp":
        try (FileOutputStream file = new FileOutputStream("/tmp/filled")) {
          while (true) {
            file.write(new byte[MIB]);
          }
        } finally {
          Files.delete(Path.of("/tmp/filled"));
        }
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

  /** Takes so much memory outside of the heap, which the JVM does not bound, for a moment. */
  private static int grow(int mebibytes) throws ReflectiveOperationException {
    Field field = Unsafe.class.getDeclaredField("theUnsafe");
    field.setAccessible(true);
    Unsafe unsafe = (Unsafe) field.get(null);
    List<Long> pieces = new ArrayList<>();
    for (int grown = 0; grown < mebibytes; grown++) {
      pieces.add(unsafe.allocateMemory(MIB));
      unsafe.setMemory(pieces.get(grown), MIB, (byte) 1);
    }
    pieces.forEach(unsafe::freeMemory);
    return pieces.size();
  }

  private static Map<String, Object> eatInChild() throws Exception {
    return Map.of("childCode", run("head -c 1000000000 /dev/zero | tail -n 1 | wc -c"));
  }

  private static Object signal(String name) throws Exception {
    new ProcessBuilder("sh", "-c", "kill -" + name + " " + ProcessHandle.current().pid()).start().waitFor();
    Thread.sleep(10_000);
    return null;
  }

  /** Tells the test (test/support/beacon.ts) that it runs, waits for the test's word, and goes on with `next`. */
  private static Object tell(Map<String, Object> event) throws Exception {
    String settings = Files.readString(Path.of("/run/worker-front/sandbox.json"));
    String sandbox = settings.replaceAll(".*\"sandbox\":\"(\\w+)\".*", "$1");
    String message = "{\"sandbox\":\"" + sandbox + "\",\"word\":\"" + event.get("word") + "\"}\n";
    StringBuilder word = new StringBuilder();
    try (SocketChannel beacon = SocketChannel.open(StandardProtocolFamily.UNIX)) {
      beacon.connect(UnixDomainSocketAddress.of("/run/worker-front/beacon.sock"));
      beacon.write(ByteBuffer.wrap(message.getBytes(StandardCharsets.UTF_8)));
      ByteBuffer piece = ByteBuffer.allocate(256);
      while (beacon.read(piece) >= 0) {
        word.append(StandardCharsets.UTF_8.decode(piece.flip()));
        piece.clear();
      }
    }
    return event.containsKey("next") ? act((String) event.get("next"), event) : word.toString().trim();
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
