package workerfront;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/** Adds variables to the process's environment as System.getenv shows it and ProcessBuilder hands it on. */
final class Environment {
  private Environment() {}

  static void apply(JsonObject variables) throws ReflectiveOperationException, IOException {
    if (variables == null || variables.size() == 0) {
      return;
    }
    // Java has no setenv. This map is what System.getenv shows and what ProcessBuilder.environment starts from.
    @SuppressWarnings("unchecked")
    Map<Object, Object> environment =
        (Map<Object, Object>) Memory.getStatic(Class.forName("java.lang.ProcessEnvironment"), "theEnvironment");
    for (Map.Entry<String, JsonElement> variable : variables.entrySet()) {
      environment.put(entry("Variable", variable.getKey()), entry("Value", variable.getValue().getAsString()));
    }
    try {
      NativeEnvironment.set(System.getenv());
    } catch (RuntimeException otherLibrary) {
      System.err.println("worker-front: child processes do not get the function's variables: " + otherLibrary);
    }
  }

  /** A key or value of that map: the text beside its bytes. */
  private static Object entry(String kind, String text) throws ReflectiveOperationException {
    Object entry = Memory.UNSAFE.allocateInstance(Class.forName("java.lang.ProcessEnvironment$" + kind));
    Class<?> fields = Class.forName("java.lang.ProcessEnvironment$ExternalData");
    Memory.putObject(entry, fields, "str", text);
    Memory.putObject(entry, fields, "bytes", text.getBytes(StandardCharsets.UTF_8));
    return entry;
  }
}
