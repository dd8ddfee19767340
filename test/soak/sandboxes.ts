import { open, readFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import Docker from 'dockerode';
import { BEGAN } from './handlers.ts';

export interface LiveSandbox {
  id: string;
  pid: number;
  name: string;
  /** Nonces of the calls that have begun in it and whose notes are still there. */
  begun: string[];
}

/** The sandboxes of one node, seen and treated from outside, past the daemon. */
export class Sandboxes {
  readonly #docker = new Docker();
  readonly #filters: { label: string[] };

  constructor(node: string) {
    this.#filters = { label: [`io.worker-front.node=${node}`] };
  }

  /** Those that run now. Reading the notes of a handler needs the right to look into `/proc/<pid>/root`: root has it. */
  async running(): Promise<LiveSandbox[]> {
    const containers = await this.#docker.listContainers({ filters: this.#filters });
    const looked = containers.map(async ({ Id: id, Names: [name = ''] }) => {
      const pid = await this.#pidOf(id);
      const begun = pid === 0 ? [] : await begunIn(`/proc/${pid}/root${dirname(BEGAN)}`);
      return { id, pid, name: name.replace(/^\//, ''), begun };
    });
    return (await Promise.all(looked)).filter(({ pid }) => pid !== 0);
  }

  /** Ends one at once. Gives the nonces of all calls that had begun in it by then. */
  async end({ id, pid }: LiveSandbox, how: 'kill' | 'remove'): Promise<string[]> {
    // A folder that is held open can be read when its container is gone.
    const folder = await open(`/proc/${pid}/root${dirname(BEGAN)}`).catch(unlessGone);
    try {
      const container = this.#docker.getContainer(id);
      await (how === 'kill' ? container.kill() : container.remove({ force: true })).catch(unlessGone);
      return folder ? await begunIn(`/proc/self/fd/${folder.fd}`) : [];
    } finally {
      await folder?.close();
    }
  }

  /** 0: it does not run any more. */
  async #pidOf(id: string): Promise<number> {
    const facts = await this.#docker.getContainer(id).inspect().catch(unlessGone);
    return facts?.State.Pid ?? 0;
  }
}

async function begunIn(folder: string): Promise<string[]> {
  const notes = await readFile(`${folder}/${basename(BEGAN)}`, 'utf8').catch(unlessGone);
  // A line that is being written is not whole.
  return notes?.split('\n').slice(0, -1) ?? [];
}

/** No call yet, not running any more, gone, or being removed by somebody else. */
function unlessGone(error: { statusCode?: number; code?: string }): undefined {
  const gone: unknown[] = [404, 409, 'ENOENT', 'ESRCH', 'ENOTDIR'];
  if (!gone.includes(error.statusCode) && !gone.includes(error.code)) throw error;
  return undefined;
}
