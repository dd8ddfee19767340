package workerfront;

import java.io.BufferedReader;
import java.io.FileReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import sun.misc.Unsafe;

/**
 * The C library's `environ`, which child processes inherit unless their ProcessBuilder's environment was touched. Java has no way to
 * set it, and a native library would have to be compiled and loaded for this alone; so it is written to where it is. Works with
 * glibc on 64-bit machines, which is what the image has.
 */
final class NativeEnvironment {
  private static final int PT_DYNAMIC = 2;
  private static final int DT_STRTAB = 5;
  private static final int DT_SYMTAB = 6;
  private static final int SYMBOL_BYTES = 24;
  private static final int POINTER_BYTES = 8;

  private final Unsafe memory;

  private NativeEnvironment(Unsafe memory) {
    this.memory = memory;
  }

  /** Replaces the environment of processes started from now on. */
  static void set(Map<String, String> variables) throws IOException {
    NativeEnvironment environment = new NativeEnvironment(Memory.UNSAFE);
    environment.memory.putAddress(environment.symbol(libraryBase(), "environ"), environment.block(variables));
  }

  private static long libraryBase() throws IOException {
    try (BufferedReader maps = new BufferedReader(new FileReader("/proc/self/maps", StandardCharsets.ISO_8859_1))) {
      for (String line = maps.readLine(); line != null; line = maps.readLine()) {
        if (line.endsWith("/libc.so.6")) {
          return Long.parseUnsignedLong(line.substring(0, line.indexOf('-')), 16);
        }
      }
    }
    throw new IllegalStateException("the C library is not glibc");
  }

  /** The address of a variable of a loaded library, by its table of dynamic symbols (ELF, 64 bits). */
  private long symbol(long base, String name) {
    long symbols = 0;
    long names = 0;
    for (long entry = dynamicSection(base); memory.getLong(entry) != 0; entry += 16) {
      long tag = memory.getLong(entry);
      if (tag == DT_STRTAB) {
        names = memory.getLong(entry + 8);
      } else if (tag == DT_SYMTAB) {
        symbols = memory.getLong(entry + 8);
      }
    }
    // The table has no length of its own; the names follow it.
    for (long at = symbols; at != 0 && at + SYMBOL_BYTES <= names; at += SYMBOL_BYTES) {
      if (equals(names + (memory.getInt(at) & 0xFFFFFFFFL), name)) {
        return base + memory.getLong(at + 8);
      }
    }
    throw new IllegalStateException("the C library has no " + name);
  }

  private long dynamicSection(long base) {
    long headers = base + memory.getLong(base + 32);
    int size = memory.getShort(base + 54);
    int count = memory.getShort(base + 56);
    for (long at = headers; at < headers + (long) size * count; at += size) {
      if (memory.getInt(at) == PT_DYNAMIC) {
        return base + memory.getLong(at + 16);
      }
    }
    throw new IllegalStateException("the C library is no dynamic one");
  }

  private boolean equals(long text, String wanted) {
    for (int at = 0; at < wanted.length(); at++) {
      if (memory.getByte(text + at) != wanted.charAt(at)) {
        return false;
      }
    }
    return memory.getByte(text + wanted.length()) == 0;
  }

  /** An array of pointers to `name=value` with a null at its end; never freed, as something may hold a pointer into it. */
  private long block(Map<String, String> variables) {
    long block = memory.allocateMemory((variables.size() + 1L) * POINTER_BYTES);
    long next = block;
    for (Map.Entry<String, String> variable : variables.entrySet()) {
      memory.putAddress(next, text(variable.getKey() + "=" + variable.getValue()));
      next += POINTER_BYTES;
    }
    memory.putAddress(next, 0);
    return block;
  }

  private long text(String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    long address = memory.allocateMemory(bytes.length + 1L);
    for (int at = 0; at < bytes.length; at++) {
      memory.putByte(address + at, bytes[at]);
    }
    memory.putByte(address + bytes.length, (byte) 0);
    return address;
  }
}
