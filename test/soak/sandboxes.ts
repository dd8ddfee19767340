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
  /** True when this user may not look into sandboxes: then it is not known which calls have begun where. */
  blind = false;

  constructor(node: string) {
    this.#filters = { label: [`io.worker-front.node=${node}`] };
  }

  /** Those that run now. Root may read what their handlers have noted, in `/proc/<pid>/root`. */
  async running(): Promise<LiveSandbox[]> {
    const containers = await this.#docker.listContainers({ filters: this.#filters });
    const looked = containers.map(async ({ Id: id, Names: [name = ''] }) => {
      const pid = await this.#pidOf(id);
      const begun = pid === 0 ? [] : await this.#begunIn(`/proc/${pid}/root${dirname(BEGAN)}`);
      return { id, pid, name: name.replace(/^\//, ''), begun };
    });
    return (await Promise.all(looked)).filter(({ pid }) => pid !== 0);
  }

  /** Ends one at once. Gives the nonces of all calls that had begun in it by then. */
  async end({ id, pid }: LiveSandbox, how: 'kill' | 'remove'): Promise<string[]> {
    // A folder that is held open can be read when its container is gone.
    const folder = await open(`/proc/${pid}/root${dirname(BEGAN)}`).catch(this.#unseen);
    try {
      const container = this.#docker.getContainer(id);
      await (how === 'kill' ? container.kill() : container.remove({ force: true })).catch(unlessGone);
      return folder ? await this.#begunIn(`/proc/self/fd/${folder.fd}`) : [];
    } finally {
      await folder?.close();
    }
  }

  /** 0: it does not run any more. */
  async #pidOf(id: string): Promise<number> {
    const facts = await this.#docker.getContainer(id).inspect().catch(unlessGone);
    return facts?.State.Pid ?? 0;
  }

  async #begunIn(folder: string): Promise<string[]> {
    const notes = await readFile(`${folder}/${basename(BEGAN)}`, 'utf8').catch(this.#unseen);
    // A line that is being written is not whole.
    return notes?.split('\n').slice(0, -1) ?? [];
  }

  readonly #unseen = (error: { code?: string }): undefined => {
    if (error.code === 'EACCES' || error.code === 'EPERM') this.blind = true;
    else unlessGone(error);
    return undefined;
  };
}

/** No call yet, not running any more, gone, or being removed by somebody else. */
function unlessGone(error: { statusCode?: number; code?: string }): undefined {
  const gone: unknown[] = [404, 409, 'ENOENT', 'ESRCH', 'ENOTDIR'];
  if (!gone.includes(error.statusCode) && !gone.includes(error.code)) throw error;
  return undefined;
}
