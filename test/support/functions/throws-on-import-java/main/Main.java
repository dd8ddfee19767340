package main;

public class Main {
  private static final Object VALUE = make();

  public static Object lambda_handler() {
    return VALUE;
  }

  private static Object make() {
    throw new IllegalStateException("thrown while importing");
  }
}
