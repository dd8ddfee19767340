package main;

public class Exits {
  static {
    System.out.println("going");
    System.exit(7);
  }

  public static void handle() {}
}
