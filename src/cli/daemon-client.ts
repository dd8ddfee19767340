import type { TLSSocket } from 'node:tls';
import { Agent, buildConnector, fetch } from 'undici';
import type { DaemonFacts } from '../lib/data-dir.ts';

export interface DaemonReply {
  ok: boolean;
  status: number;
  body: unknown;
}

/** Asks the daemon that runs on this machine. */
export interface DaemonClient {
  /** Rejects when no reply comes in time. */
  get(path: string): Promise<DaemonReply>;
}

const TIMEOUT_MS = 10_000;

/**
 * Talks to the daemon at the address that it has published. With TLS, the certificate must be the one whose fingerprint
 * stands beside the address in the data folder, which is the owner's alone: that is stronger than a chain of authorities,
 * and works whatever names the certificate is for. The token is not sent to anybody else.
 */
export function createDaemonClient(
  facts: Pick<DaemonFacts, 'url' | 'certificate'>,
  token: string | undefined,
): DaemonClient {
  const dispatcher = facts.certificate === undefined ? undefined : pinnedAgent(facts.certificate);
  return {
    async get(path) {
      const headers = token ? { authorization: `Bearer ${token}` } : {};
      const reply = await fetch(new URL(path, facts.url), {
        headers,
        dispatcher,
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return { ok: reply.ok, status: reply.status, body: await reply.json() };
    },
  };
}

function pinnedAgent(fingerprint: string): Agent {
  // A resumed session would not show its certificate again.
  const connect = buildConnector({ rejectUnauthorized: false, maxCachedSessions: 0 });
  return new Agent({
    connect(options, callback) {
      connect(options, (error, socket) => {
        if (error) return callback(error, null);
        if ((socket as TLSSocket).getPeerX509Certificate()?.fingerprint256 === fingerprint) {
          return callback(null, socket);
        }
        socket.destroy();
        return callback(new Error('what answers there has another certificate than the daemon'), null);
      });
    },
  });
}
