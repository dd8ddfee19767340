package workerfront;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.OutputStream;

/** Streams over an inherited descriptor. A socket can't be opened again by its name in /proc, and Java has no other way in. */
final class Descriptor {
  private Descriptor() {}

  static InputStream input(int number) throws NoSuchFieldException {
    return new FileInputStream(descriptor(number));
  }

  static OutputStream output(int number) throws NoSuchFieldException {
    return new FileOutputStream(descriptor(number));
  }

  private static FileDescriptor descriptor(int number) throws NoSuchFieldException {
    FileDescriptor descriptor = new FileDescriptor();
    Memory.putInt(descriptor, FileDescriptor.class, "fd", number);
    return descriptor;
  }
}
