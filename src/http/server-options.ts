import type { ServerOptions } from 'node:http';
import type { HttpOptions } from './deps.ts';
import { readKeyPair } from './tls.ts';

/** Bytes of the request line and all headers. */
const MAX_HEADERS = 16 * 1024;
/** Milliseconds to send the request line and headers. */
const HEADERS_TIMEOUT = 20_000;
/** Milliseconds for a TLS handshake. */
const HANDSHAKE_TIMEOUT = 10_000;

/** Limits of the server itself, before a request is one; with `tls`, an HTTPS server. */
export function serverOptions(options: HttpOptions): { http: ServerOptions } | { https: object } {
  const limits: ServerOptions = {
    // Also when NODE_OPTIONS says otherwise.
    insecureHTTPParser: false,
    // Node's own answer to a missing Host would let what comes behind it through; see shape.ts.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEADERS,
    headersTimeout: Math.min(HEADERS_TIMEOUT, options.requestTimeoutMs ?? HEADERS_TIMEOUT),
    connectionsCheckingInterval: Math.min(5000, options.requestTimeoutMs ?? 5000),
  };
  if (options.tls === undefined) return { http: limits };
  return { https: { ...limits, ...readKeyPair(options.tls).options, handshakeTimeout: HANDSHAKE_TIMEOUT } };
}
