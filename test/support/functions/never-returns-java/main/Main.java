package main;

public class Main {
  private static volatile boolean done;

  public static Object lambda_handler() {
    System.out.println("started");
    while (!done) {
      Thread.onSpinWait();
    }
    return null;
  }
}
