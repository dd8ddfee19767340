package workerfront;

import com.google.gson.JsonElement;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import lalb.Context;

/** The function's method and how to call it: `()`, `(event)`, `(event, context)` or `(context)`. */
final class Handler {
  private static final String DEFAULT = "main.Main.lambda_handler";

  private final Method method;
  private final Object instance;

  private Handler(Method method, Object instance) {
    this.method = method;
    this.instance = instance;
  }

  /** Finds `package.Class.method` (`package.Class::method`, `package.Class.method()`) and makes an instance if the method is none of the class's own. */
  static Handler find(ClassLoader loader, JsonElement handlerName) throws Throwable {
    String name = handlerName == null || handlerName.isJsonNull() ? DEFAULT : handlerName.getAsString();
    int parameters = name.indexOf('(');
    String dotted = name.substring(0, parameters < 0 ? name.length() : parameters).replace("::", ".");
    int dot = dotted.lastIndexOf('.');
    if (dot < 1 || dot == dotted.length() - 1) {
      throw new HandlerNotFound("handler '" + name + "' is not of the form 'package.Class.method'");
    }
    Class<?> type = load(loader, dotted.substring(0, dot));
    Method method = choose(type, dotted.substring(dot + 1));
    method.setAccessible(true);
    return new Handler(method, Modifier.isStatic(method.getModifiers()) ? null : instantiate(type));
  }

  /** What to call the method with. */
  Object[] arguments(String event, InvocationContext context) {
    Type[] types = method.getGenericParameterTypes();
    Object[] arguments = new Object[types.length];
    if (types.length > 0 && !takesContextOnly()) {
      arguments[0] = Json.parseEvent(event, types[0]);
    }
    if (types.length == 2 || takesContextOnly()) {
      arguments[types.length - 1] = context.as(method.getParameterTypes()[types.length - 1]);
    }
    return arguments;
  }

  /** Calls the method. What it throws comes out as it is. */
  Object call(Object[] arguments) throws Throwable {
    try {
      return method.invoke(instance, arguments);
    } catch (InvocationTargetException thrown) {
      throw thrown.getCause();
    }
  }

  private boolean takesContextOnly() {
    return method.getParameterCount() == 1 && method.getParameterTypes()[0] == Context.class;
  }

  private static Class<?> load(ClassLoader loader, String name) throws Throwable {
    try {
      return Class.forName(name, true, loader);
    } catch (ClassNotFoundException missing) {
      if (name.equals(missing.getMessage())) {
        throw new HandlerNotFound("the function has no class " + name);
      }
      throw missing;
    } catch (ExceptionInInitializerError failed) {
      throw failed.getCause() == null ? failed : failed.getCause();
    }
  }

  private static Object instantiate(Class<?> type) throws Throwable {
    try {
      var constructor = type.getDeclaredConstructor();
      constructor.setAccessible(true);
      return constructor.newInstance();
    } catch (NoSuchMethodException missing) {
      throw new HandlerNotFound(type.getName() + " has no constructor without parameters");
    } catch (InstantiationException abstractType) {
      throw new HandlerNotFound(type.getName() + " is abstract");
    } catch (InvocationTargetException thrown) {
      throw thrown.getCause();
    }
  }

  /** Of several methods of the name, the one with most parameters that can be called. */
  private static Method choose(Class<?> type, String name) throws HandlerNotFound {
    List<Method> named = new ArrayList<>();
    for (Class<?> at = type; at != null && at != Object.class; at = at.getSuperclass()) {
      for (Method method : at.getDeclaredMethods()) {
        if (method.getName().equals(name) && !method.isBridge() && !Modifier.isAbstract(method.getModifiers())) {
          named.add(method);
        }
      }
    }
    Method best = null;
    for (Method method : named) {
      if (callable(method) && (best == null || method.getParameterCount() > best.getParameterCount())) {
        best = method;
      }
    }
    if (best == null) {
      String found = named.isEmpty() ? type.getName() + " has no method " + name : named.get(0) + " takes other parameters";
      throw new HandlerNotFound(found + "; wanted: " + name + "(), (event) or (event, " + Context.class.getName() + ")");
    }
    return best;
  }

  private static boolean callable(Method method) {
    Class<?>[] types = method.getParameterTypes();
    return types.length < 2 || (types.length == 2 && (types[1].isInterface() || types[1].isAssignableFrom(Map.class)));
  }
}
