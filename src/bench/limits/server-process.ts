import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { ImageRoot } from './image-root.ts';

/** A limit that is a server of its own. */
export interface LimitServer extends AsyncDisposable {
  url: string;
}

/** L1: a Fastify server that answers a constant. */
export function startConstantServer(): Promise<LimitServer> {
  return start('constant-server', []);
}

/** L2: a Fastify server that forwards each body to the bootstrap of an image, outside of any container. */
export async function startForwardServer(root: ImageRoot): Promise<LimitServer> {
  const socket = await root.prepareChannel();
  return start('forward-server', [socket, ...root.commandLine()]);
}

/** Fastify in front of a program of the image that forks for each call, outside of any container. */
export function startForkServer(root: ImageRoot, command: readonly string[]): Promise<LimitServer> {
  return start('fork-server', root.commandLine(command));
}

async function start(name: string, args: string[]): Promise<LimitServer> {
  // `.js` in the compiled package, `.ts` in the sources.
  const file = fileURLToPath(new URL(`./${name}${import.meta.url.slice(-3)}`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = once(createInterface({ input: child.stdout }), 'line') as Promise<[string]>;
  const [url] = await Promise.race([line, ended(child, name)]);
  return {
    url: `${url}/`,
    async [Symbol.asyncDispose]() {
      const exit = once(child, 'exit');
      child.kill('SIGTERM');
      await exit;
    },
  };
}

async function ended(child: ChildProcess, name: string): Promise<never> {
  const [code] = (await once(child, 'exit')) as [number | null];
  throw new Error(`the ${name} ended with ${code} before it answered`);
}
