package workerfront;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;

/** What a `failed` frame says about something that was thrown. */
final class Failure {
  private static final int TYPE_LENGTH = 256;
  private static final int MESSAGE_LENGTH = 16_384;
  private static final int TRACE_LENGTH = 64;
  private static final int LINE_LENGTH = 2_048;

  private Failure() {}

  /** Type, message and trace of anything thrown. Never throws, whatever the exception's own methods do. */
  static JsonObject of(Throwable thrown) {
    try {
      boolean own = thrown instanceof HandlerNotFound;
      String type = own ? "HandlerNotFound" : thrown.getClass().getName();
      String message = thrown.getMessage() == null ? "" : thrown.getMessage();
      return frame(exhaustsMemory(thrown) ? "memory" : "error", type, message, own ? List.of() : trace(thrown));
    } catch (Throwable again) {
      return frame("error", thrown.getClass().getName(), "the exception cannot be described", List.of());
    }
  }

  static JsonObject frame(String kind, String type, String message, List<String> trace) {
    JsonObject frame = Link.header("failed", "kind", kind);
    frame.addProperty("errorType", text(type, TYPE_LENGTH));
    frame.addProperty("message", text(message, MESSAGE_LENGTH));
    JsonArray lines = new JsonArray();
    for (String line : trace.subList(0, Math.min(TRACE_LENGTH, trace.size()))) {
      lines.add(text(line, LINE_LENGTH));
    }
    frame.add("trace", lines);
    return frame;
  }

  private static boolean exhaustsMemory(Throwable thrown) {
    Set<Throwable> seen = identitySet();
    for (Throwable at = thrown; at != null && seen.add(at); at = at.getCause()) {
      // The same class says "unable to create native thread", which is the limit of processes.
      if (at instanceof OutOfMemoryError && !String.valueOf(at.getMessage()).startsWith("unable to create")) {
        return true;
      }
    }
    return false;
  }

  private static List<String> trace(Throwable thrown) {
    List<String> lines = new ArrayList<>();
    Set<Throwable> seen = identitySet();
    for (Throwable at = thrown; at != null && seen.add(at) && lines.size() < TRACE_LENGTH; at = at.getCause()) {
      if (at != thrown) {
        lines.add("Caused by: " + at);
      }
      for (StackTraceElement element : ownPart(at.getStackTrace())) {
        lines.add("at " + element);
      }
    }
    return lines;
  }

  /** A stack down to the call by this runtime, without the reflection in between. */
  private static List<StackTraceElement> ownPart(StackTraceElement[] stack) {
    int end = 0;
    while (end < stack.length && !stack[end].getClassName().startsWith("workerfront.")) {
      end++;
    }
    if (end < stack.length) {
      while (end > 0 && isReflection(stack[end - 1].getClassName())) {
        end--;
      }
    }
    return List.of(stack).subList(0, end);
  }

  private static boolean isReflection(String className) {
    return className.startsWith("java.lang.reflect.") || className.startsWith("jdk.internal.reflect.") || className.equals("java.lang.Class");
  }

  /** Cut, and with U+FFFD for surrogates without their other half. */
  private static String text(String value, int length) {
    StringBuilder text = new StringBuilder(value.length() > length ? value.substring(0, length) : value);
    for (int at = 0; at < text.length(); at++) {
      char unit = text.charAt(at);
      if (Character.isHighSurrogate(unit) && at + 1 < text.length() && Character.isLowSurrogate(text.charAt(at + 1))) {
        at++;
      } else if (Character.isSurrogate(unit)) {
        text.setCharAt(at, '\uFFFD');
      }
    }
    return text.toString();
  }

  private static Set<Throwable> identitySet() {
    return Collections.newSetFromMap(new IdentityHashMap<>());
  }
}
