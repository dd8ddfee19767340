package workerfront;

/** The manifest's handler is not in the function's code; the message says what was looked for. */
final class HandlerNotFound extends Exception {
  private static final long serialVersionUID = 1;

  HandlerNotFound(String message) {
    super(message);
  }
}
