import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Files } from '../functions.ts';
import type { DockerApi } from '../lib/docker.ts';

interface Image {
  Config: { Entrypoint: string[] | null; Cmd: string[] | null };
}

export const SANDBOX = 'bench';
export const TOKEN = '00';
/** `$1` is the image's file system; the rest is the command. /proc and /dev are bound in a mount namespace that ends with the process. */
const IN_ROOT =
  'root="$1"; shift; mount --rbind /proc "$root/proc" && mount --rbind /dev "$root/dev" && exec chroot "$root" "$@"';

/**
 * An image's file system unpacked on this machine, so that its programs can run as plain processes: the same files, no
 * container. Needs root (chroot).
 */
export class ImageRoot {
  readonly dir: string;
  /** The image's own command: the bootstrap. */
  readonly command: string[];

  private constructor(dir: string, command: string[]) {
    this.dir = dir;
    this.command = command;
  }

  static async unpack(docker: DockerApi, image: string): Promise<ImageRoot> {
    const { Config: config } = await docker.call<Image>('GET', `/images/${image}/json`);
    const command = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
    const { Id: id } = await docker.call<{ Id: string }>('POST', '/containers/create', { json: { Image: image } });
    const root = await mkdtemp(join(tmpdir(), 'wf-root-'));
    try {
      const tar = spawn('tar', ['-x', '-C', root], { stdio: ['pipe', 'ignore', 'inherit'] });
      const ended = once(tar, 'exit');
      await pipeline(await docker.stream('GET', `/containers/${id}/export`), tar.stdin);
      await ended;
    } finally {
      await docker.call('DELETE', `/containers/${id}`);
    }
    return new ImageRoot(root, command);
  }

  /** What lies in a folder of the image, by its path in there; nothing when there is no such folder. */
  async files(folder: string): Promise<Files> {
    const dir = join(this.dir, folder);
    const entries = await readdir(dir, { recursive: true, withFileTypes: true }).catch(() => []);
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    return Object.fromEntries(
      await Promise.all(files.map(async (file) => [relative(dir, file), await readFile(file)])),
    );
  }

  /** Path of the channel's socket outside; its folder is ready for a bootstrap. */
  async prepareChannel(): Promise<string> {
    const dir = join(this.dir, 'run/worker-front');
    await mkdir(dir, { recursive: true });
    const sandbox = { protocol: 1, sandbox: SANDBOX, token: TOKEN, orphanTimeout: 1 };
    await writeFile(join(dir, 'sandbox.json'), JSON.stringify(sandbox));
    const socket = join(dir, 'channel.sock');
    await rm(socket, { force: true });
    return socket;
  }

  /** Runs a command in the unpacked image. */
  run(command: readonly string[] = this.command): ChildProcess {
    const [program = '', ...args] = this.commandLine(command);
    return spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  }

  /** The command line on this machine that runs a command in the unpacked image. */
  commandLine(command: readonly string[] = this.command): string[] {
    return ['unshare', '-m', 'sh', '-c', IN_ROOT, 'sh', this.dir, ...command];
  }

  async close(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}
