package workerfront;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.util.Map;

/** Adds variables to the process's environment as System.getenv shows it and ProcessBuilder hands it on. */
final class Environment {
  private Environment() {}

  static void apply(JsonObject variables) throws ReflectiveOperationException, IOException {
    if (variables == null || variables.size() == 0) {
      return;
    }
    // Java has no setenv. The map that both start from is private; the manifest opens java.lang for this.
    Field field = Class.forName("java.lang.ProcessEnvironment").getDeclaredField("theEnvironment");
    field.setAccessible(true);
    @SuppressWarnings("unchecked")
    Map<Object, Object> environment = (Map<Object, Object>) field.get(null);
    Method name = valueOf("java.lang.ProcessEnvironment$Variable");
    Method value = valueOf("java.lang.ProcessEnvironment$Value");
    for (Map.Entry<String, JsonElement> variable : variables.entrySet()) {
      environment.put(name.invoke(null, variable.getKey()), value.invoke(null, variable.getValue().getAsString()));
    }
    try {
      NativeEnvironment.set(System.getenv());
    } catch (RuntimeException otherLibrary) {
      System.err.println("worker-front: child processes do not get the function's variables: " + otherLibrary);
    }
  }

  private static Method valueOf(String className) throws ReflectiveOperationException {
    Method method = Class.forName(className).getDeclaredMethod("valueOf", String.class);
    method.setAccessible(true);
    return method;
  }
}
