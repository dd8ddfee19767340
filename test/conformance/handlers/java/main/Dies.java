package main;

public class Dies {
  static {
    System.err.println("last words");
    Runtime.getRuntime().halt(9);
  }

  public static void handle() {}
}
