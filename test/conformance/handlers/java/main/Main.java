package main;

import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import lalb.Context;
import sun.misc.Unsafe;

/** The behaviours of ../../../bootstrap.ts, chosen by the event's `do`. */
public class Main {
  private static int count;

  public static Object lambda_handler(Map<String, Object> event, Context context) throws Exception {
    switch ((String) event.get("do")) {
      case "echo":
        return event.get("value");
      case "context":
        return context((String) event.get("env"), context);
      case "fail":
        return deep((String) event.get("message"));
      case "exit":
        System.out.println("leaving");
        System.exit(number(event, "code"));
        return null;
      case "print":
        System.out.print(event.get("stdout"));
        System.err.print(event.get("stderr"));
        return null;
      case "lines":
        for (int line = 0; line < number(event, "count"); line++) {
          System.out.println("line " + line);
        }
        return event.get("count");
      case "native":
        new FileOutputStream(FileDescriptor.out).write(((String) event.get("text")).getBytes("UTF-8"));
        return null;
      case "child":
        return new ProcessBuilder("/bin/sh", "-c", (String) event.get("command")).inheritIO().start().waitFor();
      case "stdin":
        return new String(System.in.readAllBytes(), "UTF-8");
      case "hang":
        System.out.println("hanging");
        return forever();
      case "tidy":
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
          System.out.println("tidied");
          System.out.flush();
        }));
        System.out.println("working");
        return forever();
      case "deaf":
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
          try {
            Thread.sleep(600_000);
          } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
          }
        }));
        System.out.println("deaf");
        return forever();
      case "spin":
        System.out.println("spinning");
        return spin();
      case "sleep":
        System.out.println("begin " + event.get("value"));
        Thread.sleep(number(event, "ms"));
        System.out.println("end " + event.get("value"));
        return event.get("value");
      case "link":
        link().write(Base64.getDecoder().decode((String) event.get("base64")));
        return null;
      case "closeLink":
        link().close();
        return forever();
      case "unwritable":
        Object[] endless = new Object[1];
        endless[0] = endless;
        return endless;
      case "big":
        return "x".repeat(number(event, "bytes"));
      case "memory":
        return memory();
      case "state":
        return state((String) event.get("name"));
      default:
        throw new IllegalArgumentException("do: " + event.get("do"));
    }
  }

  private static int number(Map<String, Object> event, String key) {
    return ((Number) event.get(key)).intValue();
  }

  private static Object context(String env, Context context) {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("id", context.getAwsRequestId());
    result.put("function", context.getFunctionName());
    result.put("version", context.getFunctionVersion());
    result.put("memoryMB", context.getMemoryLimitInMB());
    result.put("remainingMs", context.getRemainingTimeInMillis());
    result.put("cwd", new File("").getAbsolutePath());
    result.put("env", env == null ? null : System.getenv(env));
    return result;
  }

  private static Object deep(String message) {
    throw new IllegalStateException(message);
  }

  static Object forever() throws InterruptedException {
    Thread.sleep(Long.MAX_VALUE);
    return null;
  }

  private static Object spin() {
    long turns = 0;
    while (turns >= 0) {
      turns = (turns + 1) & 0xFFFF;
    }
    return turns;
  }

  private static Object memory() {
    List<Object> kept = new ArrayList<>();
    while (true) {
      kept.add(new byte[1 << 20]);
    }
  }

  /** The environment is fixed for a Java program: a system property stands for the variable. */
  private static Object state(String name) throws IOException {
    String tmp = System.getenv().getOrDefault("WORKER_FRONT_TMP", "/tmp");
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("count", ++count);
    result.put("pid", ProcessHandle.current().pid());
    result.put("left", System.getProperty("LEFT"));
    result.put("files", Arrays.asList(new File(tmp).list()));
    System.setProperty("LEFT", name);
    new File(tmp, name).createNewFile();
    return result;
  }

  private static FileOutputStream link() throws ReflectiveOperationException {
    Field field = Unsafe.class.getDeclaredField("theUnsafe");
    field.setAccessible(true);
    Unsafe unsafe = (Unsafe) field.get(null);
    FileDescriptor descriptor = new FileDescriptor();
    unsafe.putInt(descriptor, unsafe.objectFieldOffset(FileDescriptor.class.getDeclaredField("fd")), 3);
    return new FileOutputStream(descriptor);
  }
}
