import Table from 'cli-table3';
import { runningDaemon } from '../lib/data-dir.ts';
import { hasCode, messageOf, WorkerFrontError } from '../lib/errors.ts';
import { createDaemonClient } from './daemon-client.ts';

export interface StatusOptions {
  dataDir: string;
  token: string | undefined;
  json: boolean;
  print: (line: string) => void;
}

interface Ready {
  Ready?: boolean;
  Engine?: { Ok?: boolean; Version?: string; Problem?: string };
  CodeSource?: string;
  Warnings?: string[];
}

interface Functions {
  /** Why there is no list. */
  Problem?: string;
  Functions?: { Name: string; Version?: string; Environment?: string; State: string }[];
}

const SHOWN = 50;

/** Says how the daemon is. Rejects when none runs, or when it does not answer. */
export async function status({ dataDir, token, json, print }: StatusOptions): Promise<void> {
  const daemon = runningDaemon(dataDir);
  if (!daemon)
    throw new WorkerFrontError('engine_unavailable', "worker-front is not running; 'worker-front start' starts it");
  if (daemon.url === '')
    throw new WorkerFrontError('engine_unavailable', `worker-front (pid ${daemon.pid}) is still starting`);
  const client = createDaemonClient(daemon, token);
  const get = async (path: string): Promise<unknown> => {
    const reply = await client.get(path);
    const { body } = reply;
    if (reply.ok) return body;
    // A node that is not ready says why in the details of its error.
    if (path === '/readyz') return (body as { Details?: unknown }).Details ?? {};
    const message = (body as { Message?: string }).Message ?? `status ${reply.status}`;
    if (reply.status === 401) {
      const what = token === undefined ? 'the node asks for a token' : 'API_TOKEN is no token of this node';
      throw new WorkerFrontError('unauthorized', `${what}: set API_TOKEN to one with the role 'read'`);
    }
    if (reply.status < 500) throw new WorkerFrontError('internal_error', message);
    // The code source is down, for example: the node itself goes on, so there is something to say.
    return { Problem: message };
  };
  let ready: Ready;
  let functions: Functions;
  try {
    ready = (await get('/readyz')) as Ready;
    functions = (await get(`/functions?limit=${SHOWN}`)) as Functions;
  } catch (cause) {
    if (hasCode(cause)) throw cause;
    throw new WorkerFrontError('internal_error', `the daemon (pid ${daemon.pid}) does not answer: ${reasonOf(cause)}`, {
      cause,
    });
  }
  if (json) {
    print(JSON.stringify({ Pid: daemon.pid, Url: daemon.url, ...ready, ...functions }));
    return;
  }
  print(`worker-front ${daemon.version} is running at ${daemon.url} (pid ${daemon.pid}, node ${daemon.node})`);
  print(
    `ready: ${ready.Ready ? 'yes' : 'no'}   engine: ${engineWords(ready)}   code source: ${ready.CodeSource ?? 'unknown'}`,
  );
  for (const warning of ready.Warnings ?? []) print(`warning: ${warning}`);
  if (functions.Problem !== undefined) {
    print(`functions: ${functions.Problem}`);
    return;
  }
  const table = new Table({ head: ['function', 'state', 'environment', 'version'], style: { head: [], border: [] } });
  for (const one of functions.Functions ?? []) {
    table.push([one.Name, one.State, one.Environment ?? '', one.Version?.slice(0, 12) ?? '']);
  }
  print(table.toString());
}

/** `fetch` hides the reason in its error's cause. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  return messageOf(cause === undefined ? error : cause);
}

function engineWords({ Engine }: Ready): string {
  return Engine?.Ok ? `Docker ${Engine.Version ?? ''}` : (Engine?.Problem ?? 'no answer');
}
