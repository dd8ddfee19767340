package lalb;

/** A handler's result in the form of AWS Lambda's proxies. */
public class Response {
  public int statusCode;
  public String body;

  public Response(int statusCode, String body) {
    this.statusCode = statusCode;
    this.body = body;
  }
}
