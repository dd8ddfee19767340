package main;

public class Hangs {
  public Hangs() throws InterruptedException {
    System.out.println("waiting");
    Main.forever();
  }

  public void handle() {}
}
