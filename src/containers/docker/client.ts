import { readFileSync } from 'node:fs';
import { Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { inspect } from 'node:util';
import Docker from 'dockerode';
import { messageOf, WorkerFrontError } from '../../lib/errors.ts';
import type { DockerConnection } from './connection.ts';

/** One request as docker-modem, the transport of dockerode, takes it. */
export interface Dial {
  path: string;
  method: string;
  /** Query and JSON body; `_body: {}` sends none. */
  options: { _query: Record<string, string>; _body: object };
  /** Request body instead of JSON. */
  file?: NodeJS.ReadableStream;
  isStream: true;
  statusCodes: Record<number, true>;
  abortSignal: AbortSignal;
}

export interface DockerClient {
  /** Socket path or host and port, for messages. */
  readonly where: string;
  dial(request: Dial, callback: (error: unknown, response: IncomingMessage | null) => void): void;
  close(): void;
}

/** Milliseconds after which a connection that nobody uses is closed. */
const IDLE_MS = 10_000;

/**
 * dockerode with every setting given, so that nothing of it comes from this process's environment, and with an agent
 * of its own. The agent has no limit of sockets: requests that stay open for hours (events, wait) must not keep
 * others waiting. Idle sockets are kept for the requests that follow soon: a new connection costs more than the
 * engine's answer to a ping.
 */
export function createDockerClient(connection: DockerConnection, idleMs = IDLE_MS): DockerClient {
  const tls = connection.kind === 'tcp' ? readTls(connection.tls) : undefined;
  // Ends only sockets that nobody uses: an open request may be silent for hours.
  const kept = { keepAlive: true, maxFreeSockets: 16, timeout: idleMs };
  const agent = quiet(tls ? new HttpsAgent({ ...kept, ...tls }) : new HttpAgent(kept));
  const unix = connection.kind === 'unix' ? connection.socketPath : undefined;
  const tcp = connection.kind === 'tcp' ? connection : undefined;
  const options = {
    socketPath: unix,
    host: tcp && (tcp.host.includes(':') ? `[${tcp.host}]` : tcp.host),
    port: tcp?.port,
    protocol: tls ? 'https' : 'http',
    pathPrefix: '/',
    username: undefined,
    timeout: undefined,
    headers: {},
    agent,
    ca: tls?.ca,
    cert: tls?.cert,
    key: tls?.key,
  } as Docker.DockerOptions;
  const modem = makeModem(options);
  return {
    where: unix ?? `${tcp?.host}:${tcp?.port}`,
    dial: (request, callback) => modem.dial(request, callback),
    close: () => agent.destroy(),
  };
}

/** The modem looks at DOCKER_* of the environment even where everything is given, and may fail over it. */
function makeModem(options: Docker.DockerOptions): Pick<DockerClient, 'dial'> {
  try {
    return new Docker(options).modem as Pick<DockerClient, 'dial'>;
  } catch (error) {
    throw new WorkerFrontError('invalid_setting', `DOCKER_HOST or DOCKER_CERT_PATH is wrong: ${messageOf(error)}`, {
      cause: error,
      details: { setting: 'DOCKER_HOST' },
    });
  }
}

/**
 * docker-modem prints its options with all depth for a debug line on every request, switched on or not. Of an agent
 * with open sockets that is megabytes of text; a short name of its own makes it nothing.
 */
export function quiet<T extends HttpAgent>(agent: T): T {
  return Object.assign(agent, { [inspect.custom]: () => '[agent]' });
}

function readTls(tls: Extract<DockerConnection, { kind: 'tcp' }>['tls']) {
  if (tls === undefined) return undefined;
  if (tls === 'system') return {};
  try {
    return { ca: readFileSync(tls.ca), cert: readFileSync(tls.cert), key: readFileSync(tls.key) };
  } catch (error) {
    throw new WorkerFrontError(
      'invalid_setting',
      `The certificates for DOCKER_HOST can't be read: ${messageOf(error)}. Check DOCKER_CERT_PATH.`,
      { cause: error, details: { setting: 'DOCKER_CERT_PATH' } },
    );
  }
}
