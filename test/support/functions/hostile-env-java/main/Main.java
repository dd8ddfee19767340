package main;

public class Main {
  public static Object lambda_handler() {
    return System.getenv("MINE");
  }
}
