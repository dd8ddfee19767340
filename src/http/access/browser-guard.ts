import type { IncomingHttpHeaders } from 'node:http';
import { isIP, isIPv4 } from 'node:net';

export interface BrowserGuardOptions {
  /** Address or name the daemon listens on. */
  host: string;
  /** Further names that callers may use. */
  allowedHosts: readonly string[];
  /** Origins (`https://app.example.com`) whose pages may call. */
  allowedOrigins: readonly string[];
}

/**
 * Why a request is refused; undefined when it may pass. `host`: the name that the caller used, which a trusted proxy
 * may have passed on in a header of its own.
 */
export type BrowserGuard = (headers: IncomingHttpHeaders, host: string | undefined) => string | undefined;

/**
 * Keeps web pages away while no token is asked for: any page in a browser on this machine can send requests to it.
 *
 * - `Host` must be a name that only this machine can have. Otherwise a page of `evil.example`, whose DNS entry was
 *   changed to 127.0.0.1 after it loaded (DNS rebinding), would count as the same origin. The port is left out of it:
 *   the attack needs a foreign *name*, and tunnels and published container ports change the port.
 * - `Origin`, which browsers send with everything but simple reads, must be the same host and port.
 * - `Sec-Fetch-Site` (every current browser sends it to loopback) must say that the page is ours or that a user typed
 *   the address: that covers links, images and forms of other pages.
 */
export function createBrowserGuard(options: BrowserGuardOptions): BrowserGuard {
  const named = new Set([options.host, ...options.allowedHosts].map((name) => bare(name.toLowerCase())));
  const open = !isLoopback(bare(options.host.toLowerCase()));
  const origins = new Set(options.allowedOrigins);
  /** The last `Host` that was a name of ours: nearly always the next one, too. */
  let known: string | undefined;
  return (headers, given) => {
    const fromPage = headers.origin !== undefined || headers['sec-fetch-site'] !== undefined;
    if (!fromPage && known !== undefined && given === known) return undefined;
    const host = given?.toLowerCase();
    if (host === undefined || host === '') return 'the request has no Host header';
    const name = hostName(host);
    if (!isLoopback(name) && !named.has(name) && !(open && cannotBeRebound(name))) {
      return `the Host header '${host.slice(0, 100)}' is not a name of this daemon; call it by its address, or set API_TOKEN and send the token`;
    }
    known = given;
    const origin = headers.origin?.toLowerCase();
    if (origin !== undefined && origins.has(origin)) return undefined;
    if (origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`) {
      return 'pages of other origins may not call this daemon; set API_TOKEN and send the token';
    }
    const site = headers['sec-fetch-site'];
    if (site !== undefined && site !== 'same-origin' && site !== 'none') {
      return `a browser sent this for another page (Sec-Fetch-Site: ${site.slice(0, 20)}); set API_TOKEN and send the token`;
    }
    return undefined;
  };
}

/** The name in a `Host` header: without the port, and without the brackets of an IPv6 address. */
function hostName(host: string): string {
  if (host.startsWith('[')) return host.slice(1, Math.max(host.indexOf(']'), 1));
  const colon = host.indexOf(':');
  return withoutDot(colon === -1 ? host : host.slice(0, colon));
}

function bare(name: string): string {
  return name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : withoutDot(name);
}

function withoutDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

/** Names and addresses that always mean this machine (RFC 6761 for `localhost` and below). */
export function isLoopback(name: string): boolean {
  return (
    name === 'localhost' ||
    name.endsWith('.localhost') ||
    name === '::1' ||
    (isIPv4(name) && name.startsWith('127.')) ||
    name.startsWith('::ffff:127.')
  );
}

/** Addresses need no DNS, and single-label names (`worker1`) are never in public DNS, where an attacker's name must be. */
function cannotBeRebound(name: string): boolean {
  return isIP(name) !== 0 || (name !== '' && !name.includes('.'));
}
