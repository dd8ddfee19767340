package main;

public class Main {
  public static Object lambda_handler() {
    return undeclared;
  }
}
