package main;

public class Throws {
  static {
    fail();
  }

  public static void handle() {}

  private static void fail() {
    throw new IllegalStateException("broken at load");
  }
}
