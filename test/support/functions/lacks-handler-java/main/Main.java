package main;

public class Main {
  public static Object other() {
    return 1;
  }
}
