package workerfront;

import java.lang.reflect.Field;
import sun.misc.Unsafe;

/**
 * The JVM's way around access checks. `--add-opens` and reflection would do for most of it, but cost 25 ms at every start: the
 * JVM can't take its modules from the archive then, or (Add-Opens of a jar) runs lambdas before main.
 */
final class Memory {
  static final Unsafe UNSAFE = unsafe();

  private Memory() {}

  static void putInt(Object target, Class<?> type, String field, int value) throws NoSuchFieldException {
    UNSAFE.putInt(target, UNSAFE.objectFieldOffset(type.getDeclaredField(field)), value);
  }

  static void putObject(Object target, Class<?> type, String field, Object value) throws NoSuchFieldException {
    UNSAFE.putObject(target, UNSAFE.objectFieldOffset(type.getDeclaredField(field)), value);
  }

  static Object getStatic(Class<?> type, String field) throws NoSuchFieldException {
    Field found = type.getDeclaredField(field);
    return UNSAFE.getObject(UNSAFE.staticFieldBase(found), UNSAFE.staticFieldOffset(found));
  }

  private static Unsafe unsafe() {
    try {
      Field field = Unsafe.class.getDeclaredField("theUnsafe");
      field.setAccessible(true);
      return (Unsafe) field.get(null);
    } catch (ReflectiveOperationException impossible) {
      throw new IllegalStateException(impossible);
    }
  }
}
