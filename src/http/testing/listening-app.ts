import { afterEach, beforeEach } from 'vitest';
import { createHttpApp, type HttpApp } from '../app.ts';
import { createFakeDeps, type FakeDeps } from './fake-deps.ts';

export interface ListeningApp {
  app: HttpApp;
  deps: FakeDeps;
  /** On the loopback interface. */
  port: number;
}

/** A server of its own for each test of a file, for what can be seen on a real connection only. Requests may take 300 ms to come in. */
export function listeningApp(): ListeningApp {
  const listening = {} as ListeningApp;
  beforeEach(async () => {
    listening.deps = createFakeDeps();
    listening.app = await createHttpApp({ host: '127.0.0.1', requestTimeoutMs: 300 }, listening.deps);
    listening.port = (await listening.app.listen(0)).port;
  });
  afterEach(() => listening.app.close());
  return listening;
}

/** How a call of `W1` with an event begins. */
export const POST_HEAD = 'POST /execute?name=W1 HTTP/1.1\r\nHost: localhost\r\n';
